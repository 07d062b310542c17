/* Pools, checkpoints and what survives a kill, through <strata/c.h>. */
#define _GNU_SOURCE
#include <fcntl.h>

#include "c/c_testing.h"

typedef struct counter {
  strata_mutex lock;
  uint64_t hits;
} counter;

static const strata_type counter_type = STRATA_TYPE(counter, "pool.counter", 1);

static char directory[64];
static char path[128];
static char uri[160];

static void forget_directory(void) {
  (void)remove(path);
  (void)rmdir(directory);
}

static strata_pool* make_pool(void) {
  strata_pool_options options = {.size = sizeof options, .bytes = 64u << 20};
  strata_pool* pool = NULL;
  strcpy(directory, "/tmp/strata-c-pool-XXXXXX");
  CHECK(mkdtemp(directory) != NULL);
  /* The pools that whoever runs this has used are none of the test's business. */
  setenv("XDG_STATE_HOME", directory, 1);
  snprintf(path, sizeof path, "%s/run.pool", directory);
  snprintf(uri, sizeof uri, "pmem:%s#counter", path);
  atexit(forget_directory);
  MUST(strata_pool_create(path, &options, &pool));
  return pool;
}

static void count_once(strata_heap* heap, counter* words, int dies) {
  strata_transaction* transaction = NULL;
  strata_mutex* locks[1];
  uint64_t hits;
  locks[0] = &words->lock;
  MUST(strata_transaction_begin(heap, locks, 1, SOON_MS, &transaction));
  MUST(strata_transaction_read(transaction, &hits, &words->hits, sizeof hits));
  hits += 1;
  MUST(strata_transaction_write(transaction, &words->hits, &hits, sizeof hits));
  if (dies) raise(SIGKILL);
  MUST(strata_transaction_commit(transaction));
  strata_transaction_close(transaction);
}

static void count_and_die_at_the_second(void* unused) {
  strata_catalog* catalog = open_test_catalog();
  strata_segment* segment = NULL;
  strata_heap* heap = NULL;
  void* words = NULL;
  (void)unused;
  MUST(strata_catalog_attach(catalog, uri, NULL, &segment));
  MUST(strata_heap_open(segment, &heap));
  MUST(strata_heap_find(heap, "counter", &counter_type, &words));
  count_once(heap, words, 0);
  count_once(heap, words, 1);
}

static void what_was_committed_in_a_pool_survives_kills_and_a_checkpoint_brings_it_back(void) {
  strata_pool* pool = make_pool();
  strata_catalog* catalog = open_test_catalog();
  strata_create_options options = {.size = sizeof options, .payload_bytes = 4u << 20};
  strata_checkpoint_report saved = {.size = sizeof saved};
  strata_load_report loaded = {.size = sizeof loaded};
  strata_segment *segment = NULL, *memory = NULL;
  strata_heap* heap = NULL;
  void* words = NULL;
  int start;
  MUST(strata_catalog_create(catalog, uri, &options, &segment));
  MUST(strata_heap_create(segment, NULL, &heap));
  MUST(strata_heap_make(heap, "counter", &counter_type, NULL, NULL));
  strata_heap_close(heap);
  strata_segment_close(segment);
  for (start = 0; start < 3; ++start)
    must_be_killed(start_child(count_and_die_at_the_second, NULL));

  segment = NULL;
  MUST(strata_catalog_attach(catalog, uri, NULL, &segment));
  MUST(strata_segment_require(segment, STRATA_CAN_PERSIST));
  MUST(strata_pool_checkpoint(pool, "saved", segment, NULL, &saved));
  CHECK(saved.version == 1 && saved.blocks == 64 && saved.bytes_written > 0);
  memory = make_test_segment(catalog, test_uri("shm:c-loaded"), 4u << 20);
  MUST(strata_pool_load(pool, "saved", memory, NULL, &loaded));
  CHECK(loaded.version == 1 && loaded.bytes == 4u << 20 && loaded.blocks_verified == 64);
  MUST(strata_heap_open(memory, &heap));
  MUST(strata_heap_find(heap, "counter", &counter_type, &words));
  count_once(heap, words, 0);
  CHECK(((counter*)words)->hits == 4);
  MUST(strata_heap_check(heap));
  strata_heap_close(heap);
  strata_segment_close(memory);
  strata_segment_close(segment);
  strata_catalog_close(catalog);
  strata_pool_close(pool);
}

typedef struct versions {
  int count;
  int current;
  uint64_t newest;
} versions;

static int count_versions(const strata_pool_entry* entry, void* user) {
  versions* const seen = user;
  CHECK(entry->size == sizeof *entry && entry->problem[0] == '\0');
  if (strcmp(entry->name, "data") != 0) return 0;
  CHECK(entry->is_immutable && entry->has_checksums);
  ++seen->count;
  seen->current += entry->is_current;
  if (entry->version > seen->newest) seen->newest = entry->version;
  return 0;
}

static void versions_are_kept_rolled_back_renamed_and_trimmed(void) {
  strata_pool* pool = make_pool();
  strata_checkpoint_options keep_3 = {.size = sizeof keep_3, .keep_versions = 3};
  strata_checkpoint_options keep_none = {.size = sizeof keep_none,
                                         .keep_versions = STRATA_KEEP_NONE};
  strata_load_options second = {.size = sizeof second, .version = 2};
  static char data[8192], loaded[8192];
  versions seen = {0, 0, 0};
  uint64_t blocks = 0;
  uint32_t removed = 0;
  int i;
  for (i = 1; i <= 3; ++i) {
    memset(data, i, sizeof data);
    MUST(strata_pool_checkpoint_bytes(pool, "data", data, sizeof data, &keep_3, NULL));
  }
  MUST(strata_pool_list(pool, count_versions, &seen));
  CHECK(seen.count == 3 && seen.current == 1 && seen.newest == 3);
  MUST(strata_pool_load_bytes(pool, "data", loaded, sizeof loaded, &second, NULL));
  CHECK(loaded[0] == 2 && loaded[8191] == 2);
  MUST(strata_pool_load_bytes(pool, "data", loaded, sizeof loaded, NULL, NULL));
  CHECK(loaded[0] == 3);
  MUST(strata_pool_verify(pool, "data", 0, &blocks));
  CHECK(blocks == 1);
  MUST(strata_pool_rollback(pool, "data", 2));
  MUST(strata_pool_load_bytes(pool, "data", loaded, sizeof loaded, NULL, NULL));
  CHECK(loaded[0] == 2);
  MUST(strata_pool_trim(pool, "data", 0, &removed));
  CHECK(removed >= 1);
  MUST(strata_pool_rename(pool, "data", "kept"));
  FAILS(strata_pool_load_bytes(pool, "data", loaded, sizeof loaded, NULL, NULL), STRATA_NOT_FOUND,
        "data");
  FAILS(strata_pool_load_bytes(pool, "kept", loaded, 100, NULL, NULL), STRATA_INVALID_ARGUMENT,
        "100");
  MUST(strata_pool_checkpoint_bytes(pool, "kept", data, sizeof data, &keep_none, NULL));
  MUST(strata_pool_remove(pool, "kept", 0));
  FAILS(strata_pool_remove(pool, "kept", 0), STRATA_NOT_FOUND, "kept");
  strata_pool_close(pool);
}

/* Flips a bit of the first page that is all `byte`. */
static void damage(int byte) {
  unsigned char page[4096];
  const int fd = open(path, O_RDWR);
  off_t at;
  size_t i;
  CHECK(fd >= 0);
  for (at = 0; pread(fd, page, sizeof page, at) == (ssize_t)sizeof page; at += sizeof page) {
    for (i = 0; i < sizeof page && page[i] == byte; ++i) {
    }
    if (i < sizeof page) continue;
    page[17] ^= 1;
    CHECK(pwrite(fd, page, sizeof page, at) == (ssize_t)sizeof page);
    close(fd);
    return;
  }
  CHECK(!"there is such a page");
}

static void a_flipped_bit_is_reported_and_never_loaded(void) {
  strata_pool* pool = make_pool();
  static char data[1 << 18], loaded[1 << 18];
  memset(data, 0x5A, sizeof data);
  MUST(strata_pool_checkpoint_bytes(pool, "data", data, sizeof data, NULL, NULL));
  MUST(strata_pool_verify(pool, "data", 0, NULL));
  damage(0x5A);
  FAILS(strata_pool_verify(pool, "data", 0, NULL), STRATA_CORRUPT, "1 damaged blocks");
  FAILS(strata_pool_load_bytes(pool, "data", loaded, sizeof loaded, NULL, NULL), STRATA_CORRUPT,
        "");
  strata_pool_close(pool);
}

static void a_pool_that_is_none_is_refused(void) {
  strata_pool* pool = make_pool();
  strata_pool* other = NULL;
  strata_pool_options small = {.size = sizeof small, .bytes = 4096};
  char missing[200];
  snprintf(missing, sizeof missing, "%s/none.pool", directory);
  FAILS(strata_pool_open(missing, &other), STRATA_NOT_FOUND, "none.pool");
  FAILS(strata_pool_create(missing, &small, &other), STRATA_INVALID_ARGUMENT, "");
  small.bytes = 16u << 20;
  FAILS(strata_pool_create(path, &small, &other), STRATA_ALREADY_EXISTS, "run.pool");
  CHECK(other == NULL);
  MUST(strata_pool_open(path, &other));
  strata_pool_close(other);
  strata_pool_close(pool);
  CHECK(truncate(path, 5000) == 0);
  other = NULL;
  CHECK(strata_pool_open(path, &other) != STRATA_OK && other == NULL);
}

static void a_segment_of_a_pool_is_resized_while_nobody_writes(void) {
  strata_pool* pool = make_pool();
  strata_catalog* catalog = open_test_catalog();
  strata_create_options options = {.size = sizeof options, .payload_bytes = 8192};
  strata_segment* segment = NULL;
  const void* bytes = NULL;
  uint64_t count = 0;
  MUST(strata_catalog_create(catalog, uri, &options, &segment));
  MUST(strata_segment_write(segment, 8000, "kept", 5));
  MUST(strata_segment_persist(segment, 8000, 5));
  FAILS(strata_pool_resize(pool, "counter", 65536), STRATA_FAILED_PRECONDITION, "");
  strata_segment_close(segment);
  segment = NULL;
  MUST(strata_pool_resize(pool, "counter", 65536));
  MUST(strata_catalog_attach(catalog, uri, NULL, &segment));
  MUST(strata_segment_bytes(segment, &bytes, &count));
  CHECK(count == 65536 && strcmp((const char*)bytes + 8000, "kept") == 0);
  strata_segment_close(segment);
  strata_catalog_close(catalog);
  strata_pool_close(pool);
}

int main(int argc, char** argv) {
  static const test_case cases[] = {
      CASE(what_was_committed_in_a_pool_survives_kills_and_a_checkpoint_brings_it_back),
      CASE(versions_are_kept_rolled_back_renamed_and_trimmed),
      CASE(a_flipped_bit_is_reported_and_never_loaded),
      CASE(a_pool_that_is_none_is_refused),
      CASE(a_segment_of_a_pool_is_resized_while_nobody_writes),
  };
  return run_cases(argc, argv, cases, CASE_COUNT(cases));
}
