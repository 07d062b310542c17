/* Arguments that cannot be, through <strata/c.h>: each is refused with its name, and nothing is
 * changed. */
#define _GNU_SOURCE
#include "c/c_testing.h"

typedef struct world {
  strata_catalog* catalog;
  strata_segment* segment;
  strata_sync_context* context;
  strata_heap* heap;
  strata_transaction* transaction;
  char* bytes;
} world;

static world make_world(void) {
  world w;
  void* bytes = NULL;
  w.catalog = open_test_catalog();
  w.segment = make_test_segment(w.catalog, test_uri("shm:c-hostile"), 1u << 20);
  MUST(strata_heap_create(w.segment, NULL, &w.heap));
  MUST(strata_sync_context_open(w.segment, &w.context));
  MUST(strata_transaction_begin(w.heap, NULL, 0, SOON_MS, &w.transaction));
  MUST(strata_segment_writable_bytes(w.segment, &bytes, NULL));
  w.bytes = bytes;
  return w;
}

#define REFUSED(call, argument) FAILS(call, STRATA_INVALID_ARGUMENT, "`" argument "` is NULL")

static void null_handles_and_places_are_named(void) {
  static const strata_type type = STRATA_TYPE(uint64_t, "hostile.number", 1);
  world w = make_world();
  strata_segment* segment = NULL;
  void* pointer = NULL;
  uint64_t number = 0;
  uint32_t small = 0;
  size_t size = 0;
  int value = 0;
  REFUSED(strata_catalog_open(NULL, NULL), "catalog");
  REFUSED(strata_catalog_create(NULL, "shm:x", NULL, &segment), "catalog");
  REFUSED(strata_catalog_create(w.catalog, NULL, NULL, &segment), "uri");
  REFUSED(strata_catalog_create(w.catalog, "shm:x", NULL, NULL), "segment");
  REFUSED(strata_catalog_create_anonymous(w.catalog, NULL, NULL), "segment");
  REFUSED(strata_catalog_attach(w.catalog, NULL, NULL, &segment), "uri");
  REFUSED(strata_catalog_attach(w.catalog, "shm:x", NULL, NULL), "segment");
  REFUSED(strata_catalog_create_or_attach(w.catalog, "shm:x", NULL, NULL, NULL, NULL, NULL, NULL),
          "segment");
  REFUSED(strata_catalog_remove(w.catalog, NULL, NULL), "uri");
  REFUSED(strata_catalog_stat(w.catalog, "shm:x", NULL), "stat");
  REFUSED(strata_catalog_list(w.catalog, NULL, NULL, NULL, NULL), "visit");
  REFUSED(strata_catalog_list(NULL, NULL, NULL, NULL, NULL), "catalog");
  REFUSED(strata_catalog_reclaim(NULL, NULL, NULL, NULL, NULL), "catalog");
  REFUSED(strata_catalog_send(w.catalog, NULL, 0, 0), "segment");
  REFUSED(strata_catalog_receive(w.catalog, 0, NULL, 0, NULL), "segment");
  REFUSED(strata_catalog_attach_handle(w.catalog, NULL, 1, NULL, 0, NULL, &segment), "handle");
  REFUSED(strata_segment_handle(w.segment, NULL, 1, &size), "buffer");
  REFUSED(strata_segment_handle(w.segment, w.bytes, 1, NULL), "bytes");
  REFUSED(strata_segment_descriptors(w.segment, NULL, &size), "descriptors");
  REFUSED(strata_handle_decode(w.bytes, 1, NULL), "info");
  REFUSED(strata_segment_share(NULL, &segment), "segment");
  REFUSED(strata_segment_share(w.segment, NULL), "shared");
  REFUSED(strata_segment_get_info(w.segment, NULL), "info");
  REFUSED(strata_segment_bytes(w.segment, NULL, NULL), "bytes");
  REFUSED(strata_segment_writable_bytes(NULL, &pointer, NULL), "segment");
  REFUSED(strata_segment_read(w.segment, 0, NULL, 1), "into");
  REFUSED(strata_segment_write(w.segment, 0, NULL, 1), "from");
  REFUSED(strata_segment_migrate(w.segment, NULL, 0), "placement");
  CHECK(strata_segment_uri(NULL) == NULL);
  REFUSED(strata_sync_context_open(NULL, NULL), "segment");
  REFUSED(strata_mutex_lock(NULL, NULL, 0, &value), "context");
  REFUSED(strata_mutex_lock(w.context, NULL, 0, &value), "mutex");
  REFUSED(strata_mutex_lock(w.context, (strata_mutex*)w.bytes, 0, NULL), "how");
  REFUSED(strata_rw_lock_lock_shared(w.context, NULL, 0, &small), "lock");
  REFUSED(strata_semaphore_acquire(w.context, NULL, 0, &small, &value), "semaphore");
  REFUSED(strata_event_set(w.context, NULL), "event");
  REFUSED(strata_barrier_join(w.context, NULL, &small), "barrier");
  REFUSED(strata_condition_notify_all(w.context, NULL), "condition");
  REFUSED(strata_spsc_ring_bytes(NULL, &number), "options");
  REFUSED(strata_spsc_producer_open(w.context, NULL, NULL, NULL), "ring");
  REFUSED(strata_mpmc_ring_loan(NULL, 0, NULL), "ring");
  REFUSED(strata_heap_open(w.segment, NULL), "heap");
  REFUSED(strata_heap_make(w.heap, NULL, &type, NULL, NULL), "name");
  REFUSED(strata_heap_make(w.heap, "x", NULL, NULL, NULL), "type");
  REFUSED(strata_heap_find(w.heap, "x", &type, NULL), "object");
  REFUSED(strata_heap_begin(w.heap, "x", &type, NULL, &pointer), "draft");
  REFUSED(strata_draft_publish(NULL), "draft");
  REFUSED(strata_heap_list(w.heap, NULL, NULL), "visit");
  REFUSED(strata_heap_allocate(w.heap, 1, 1, NULL), "offset");
  REFUSED(strata_heap_allocate_to(w.heap, NULL, 1, 1), "word");
  REFUSED(strata_transaction_begin(w.heap, NULL, 1, 0, NULL), "transaction");
  REFUSED(strata_transaction_write(NULL, NULL, NULL, 0), "transaction");
  REFUSED(strata_transaction_write(w.transaction, NULL, &value, 1), "target");
  REFUSED(strata_transaction_read(w.transaction, NULL, w.bytes, 1), "into");
  REFUSED(strata_transaction_snapshot(w.transaction, NULL, 1), "ranges");
  REFUSED(strata_pool_create(NULL, NULL, NULL), "path");
  REFUSED(strata_pool_open("/tmp/x", NULL), "pool");
  REFUSED(strata_pool_checkpoint(NULL, "x", w.segment, NULL, NULL), "pool");
  REFUSED(strata_segment_device_bytes(w.segment, NULL), "span");
  REFUSED(strata_segment_copy(w.segment, NULL, NULL, NULL), "to");
  REFUSED(strata_timeline_open(w.segment, NULL), "timeline");
  REFUSED(strata_signaller_signal(NULL, 1), "signaller");
  REFUSED(strata_follower_wait(NULL, 1, 0), "follower");
  REFUSED(strata_pending_wait_result(NULL, 0), "pending");
  MUST(strata_heap_check(w.heap));
}

static void a_handle_of_another_type_is_none(void) {
  static const uint64_t nothing[64] = {0};
  world w = make_world();
  strata_segment* segment = NULL;
  int how;
  FAILS(strata_segment_publish((strata_segment*)(void*)w.heap), STRATA_INVALID_ARGUMENT,
        "`segment` is no handle");
  FAILS(strata_heap_recover((strata_heap*)(void*)w.segment), STRATA_INVALID_ARGUMENT,
        "`heap` is no handle");
  FAILS(strata_heap_recover((strata_heap*)(void*)w.transaction), STRATA_INVALID_ARGUMENT,
        "`heap` is no handle");
  FAILS(strata_catalog_attach((strata_catalog*)(size_t)nothing, "shm:x", NULL, &segment),
        STRATA_INVALID_ARGUMENT, "`catalog` is no handle");
  FAILS(strata_mutex_lock((strata_sync_context*)(void*)((char*)w.context + 1),
                          (strata_mutex*)w.bytes, 0, &how),
        STRATA_INVALID_ARGUMENT, "`context` is no handle");
  /* Closed as something else it stays open. */
  strata_heap_close((strata_heap*)(void*)w.segment);
  strata_segment_close((strata_segment*)(size_t)nothing);
  CHECK(strata_segment_uri(w.segment) != NULL);
}

static void names_that_cannot_be_are_refused(void) {
  static char endless[100001];
  static const strata_type type = STRATA_TYPE(uint64_t, "hostile.number", 1);
  world w = make_world();
  strata_segment* segment = NULL;
  strata_pool* pool = NULL;
  memset(endless, 'a', sizeof endless - 1);
  memcpy(endless, "shm:", 4);
  FAILS(strata_catalog_attach(w.catalog, endless, NULL, &segment), STRATA_INVALID_ARGUMENT, "");
  FAILS(strata_catalog_attach(w.catalog, "", NULL, &segment), STRATA_INVALID_ARGUMENT, "");
  FAILS(strata_catalog_attach(w.catalog, "shm:../x", NULL, &segment), STRATA_INVALID_ARGUMENT, "");
  FAILS(strata_catalog_attach(w.catalog, "shm:a\033[2Jb", NULL, &segment), STRATA_INVALID_ARGUMENT,
        "");
  CHECK(strchr(strata_error_message(), '\033') == NULL);
  FAILS(strata_heap_make(w.heap, "", &type, NULL, NULL), STRATA_INVALID_ARGUMENT, "0 bytes");
  FAILS(strata_heap_make(w.heap, endless, &type, NULL, NULL), STRATA_INVALID_ARGUMENT,
        "100000 bytes");
  FAILS(strata_heap_remove(w.heap, endless, NULL), STRATA_NOT_FOUND, "");
  FAILS(strata_pool_open(endless, &pool), STRATA_INVALID_ARGUMENT, "");
  CHECK(segment == NULL && pool == NULL);
}

static void options_that_cannot_be_are_refused_with_their_field(void) {
  struct larger {
    strata_create_options known;
    uint64_t added;
  } larger;
  static const int nodes[] = {0};
  strata_create_options options = {.size = sizeof options, .payload_bytes = 4096};
  strata_attach_options attach = {.size = sizeof attach, .access = 4};
  strata_placement placement = {.size = sizeof placement, .nodes = nodes, .node_count = 1u << 20};
  strata_catalog_options of_catalog = {.size = sizeof of_catalog, .pool_count = 1};
  strata_catalog* second = NULL;
  world w = make_world();
  strata_segment* segment = NULL;
  const char* const uri = "shm:c-never-made";
  options.size = 0;
  FAILS(strata_catalog_create(w.catalog, uri, &options, &segment), STRATA_INVALID_ARGUMENT, "size");
  options.size = 1u << 30;
  FAILS(strata_catalog_create(w.catalog, uri, &options, &segment), STRATA_INVALID_ARGUMENT, "size");
  options.size = sizeof options;
  options.lifetime = 5;
  FAILS(strata_catalog_create(w.catalog, uri, &options, &segment), STRATA_INVALID_ARGUMENT,
        "lifetime");
  options.lifetime = 0;
  options.page_size = 77;
  FAILS(strata_catalog_create(w.catalog, uri, &options, &segment), STRATA_INVALID_ARGUMENT,
        "page_size");
  options.page_size = 0;
  options.placement = &placement;
  FAILS(strata_catalog_create(w.catalog, uri, &options, &segment), STRATA_INVALID_ARGUMENT,
        "node_count");
  FAILS(strata_catalog_create(w.catalog, uri, NULL, &segment), STRATA_INVALID_ARGUMENT, "");
  FAILS(strata_catalog_attach(w.catalog, uri, &attach, &segment), STRATA_INVALID_ARGUMENT,
        "access");
  FAILS(strata_catalog_open(&of_catalog, &second), STRATA_INVALID_ARGUMENT, "pools");

  /* Of a program that is newer than the library: what it leaves zero is fine. */
  memset(&larger, 0, sizeof larger);
  larger.known.size = sizeof larger;
  larger.known.payload_bytes = 4096;
  larger.known.lifetime = STRATA_LIFETIME_PROCESS;
  larger.added = 1;
  FAILS(strata_catalog_create(w.catalog, uri, &larger.known, &segment), STRATA_UNSUPPORTED,
        "newer");
  larger.added = 0;
  MUST(strata_catalog_create(w.catalog, test_uri("shm:c-newer"), &larger.known, &segment));
  strata_segment_close(segment);
}

static void an_older_program_gets_what_its_struct_has_room_for(void) {
  world w = make_world();
  struct {
    strata_segment_info info;
    char guard[16];
  } older;
  const size_t half = offsetof(strata_segment_info, payload_bytes);
  memset(&older, 0x11, sizeof older);
  older.info.size = half;
  MUST(strata_segment_get_info(w.segment, &older.info));
  CHECK(older.info.size == half && older.info.kind == STRATA_KIND_SHM);
  CHECK(older.info.payload_bytes == 0x1111111111111111u && older.guard[0] == 0x11);
  older.info.size = 0;
  FAILS(strata_segment_get_info(w.segment, &older.info), STRATA_INVALID_ARGUMENT, "size");
}

static void types_that_cannot_be_are_refused(void) {
  strata_type type = STRATA_TYPE(uint64_t, "hostile.number", 1);
  world w = make_world();
  type.align_bytes = 3;
  FAILS(strata_heap_make(w.heap, "x", &type, NULL, NULL), STRATA_INVALID_ARGUMENT, "align_bytes");
  type.align_bytes = 8192;
  FAILS(strata_heap_make(w.heap, "x", &type, NULL, NULL), STRATA_INVALID_ARGUMENT, "align_bytes");
  type.align_bytes = 8;
  type.bytes = 0;
  FAILS(strata_heap_make(w.heap, "x", &type, NULL, NULL), STRATA_INVALID_ARGUMENT, "bytes");
  type.bytes = ~(uint64_t)0;
  CHECK(strata_heap_make(w.heap, "x", &type, NULL, NULL) != STRATA_OK);
  type.bytes = ~(uint64_t)0 - 200;
  CHECK(strata_heap_make(w.heap, "x", &type, NULL, NULL) != STRATA_OK);
  type.bytes = (uint64_t)1 << 40;
  FAILS(strata_heap_make(w.heap, "x", &type, NULL, NULL), STRATA_EXHAUSTED, "");
  type.bytes = 8;
  type.name = "";
  FAILS(strata_heap_make(w.heap, "x", &type, NULL, NULL), STRATA_INVALID_ARGUMENT, "name");
  type.name = NULL;
  REFUSED(strata_heap_make(w.heap, "x", &type, NULL, NULL), "type->name");
  type.size = 0;
  FAILS(strata_heap_make(w.heap, "x", &type, NULL, NULL), STRATA_INVALID_ARGUMENT, "size");
  MUST(strata_heap_check(w.heap));
}

static void locks_and_rings_have_to_lie_in_the_segment(void) {
  static const strata_ring_options ring = {sizeof(strata_ring_options), 4, 64};
  static const strata_ring_options uneven = {sizeof(strata_ring_options), 3, 64};
  static const strata_ring_options huge = {sizeof(strata_ring_options), 1u << 20, 1u << 30};
  world w = make_world();
  strata_mutex on_the_stack;
  strata_spsc_consumer* consumer = NULL;
  strata_mpmc_ring* opened = NULL;
  strata_segment* reader = NULL;
  strata_segment* private_copy = NULL;
  strata_sync_context* context = NULL;
  strata_attach_options reading = {.size = sizeof reading, .access = STRATA_READ_ONLY};
  strata_segment_info info = {.size = sizeof info};
  strata_attach_options copying = {.size = sizeof copying, .access = STRATA_COPY_ON_WRITE};
  uint64_t bytes = 0;
  char* const end = w.bytes + (1u << 20);
  int how;
  memset(&on_the_stack, 0, sizeof on_the_stack);
  FAILS(strata_mutex_lock(w.context, &on_the_stack, 0, &how), STRATA_INVALID_ARGUMENT,
        "does not lie");
  FAILS(strata_mutex_lock(w.context, (strata_mutex*)end, 0, &how), STRATA_INVALID_ARGUMENT,
        "does not lie");
  FAILS(strata_mutex_lock(w.context, (strata_mutex*)(end - 32), 0, &how), STRATA_INVALID_ARGUMENT,
        "32 bytes before the end");
  FAILS(strata_mutex_lock(w.context, (strata_mutex*)(end - 100), 0, &how), STRATA_INVALID_ARGUMENT,
        "aligned to 8");
  FAILS(strata_spsc_ring_format(w.context, end - 512, &ring), STRATA_INVALID_ARGUMENT,
        "before the end");
  FAILS(strata_spsc_ring_format(w.context, end - 65536 + 8, &ring), STRATA_INVALID_ARGUMENT,
        "aligned to 64");
  FAILS(strata_spsc_ring_bytes(&uneven, &bytes), STRATA_INVALID_ARGUMENT, "");
  FAILS(strata_mpmc_ring_format(w.context, end - 65536, &huge), STRATA_INVALID_ARGUMENT, "");
  memset(end - 65536, 0xAA, 4096);
  FAILS(strata_spsc_consumer_open(w.context, end - 65536, &consumer, NULL), STRATA_CORRUPT, "");
  FAILS(strata_mpmc_ring_open(w.context, end - 65536, &opened), STRATA_CORRUPT, "");
  /* Sleepers at a lock that nobody holds. */
  MUST(strata_segment_get_info(w.segment, &info));
  *(uint64_t*)(void*)(end - 64) = info.generation << 32 | 1u << 30;
  FAILS(strata_mutex_lock(w.context, (strata_mutex*)(end - 64), 0, &how), STRATA_CORRUPT, "");

  MUST(strata_catalog_attach(w.catalog, strata_segment_uri(w.segment), &reading, &reader));
  FAILS(strata_sync_context_open(reader, &context), STRATA_FAILED_PRECONDITION, "");
  MUST(strata_catalog_attach(w.catalog, strata_segment_uri(w.segment), &copying, &private_copy));
  FAILS(strata_sync_context_open(private_copy, &context), STRATA_FAILED_PRECONDITION,
        "copy-on-write");
}

static void a_loan_that_was_made_up_is_not_held(void) {
  static const strata_ring_options ring = {sizeof(strata_ring_options), 4, 64};
  world w = make_world();
  strata_mpmc_ring* opened = NULL;
  strata_loan loan = {NULL, 0, {0, 0}};
  strata_message message = {NULL, 0, {~(uint64_t)0, ~(uint64_t)0}};
  char* const at = w.bytes + (1u << 20) - 65536;
  MUST(strata_mpmc_ring_format(w.context, at, &ring));
  MUST(strata_mpmc_ring_open(w.context, at, &opened));
  FAILS(strata_mpmc_ring_publish(opened, &loan, 1), STRATA_FAILED_PRECONDITION, "");
  FAILS(strata_mpmc_ring_abandon(opened, &loan), STRATA_FAILED_PRECONDITION, "");
  FAILS(strata_mpmc_ring_release(opened, &message), STRATA_FAILED_PRECONDITION, "");
}

static void sizes_that_no_memory_has_are_refused(void) {
  world w = make_world();
  uint64_t number = 0;
  void* address = NULL;
  FAILS(strata_segment_read(w.segment, 0, &number, ~(uint64_t)0), STRATA_INVALID_ARGUMENT, "into");
  FAILS(strata_segment_write(w.segment, 8, w.bytes, ~(uint64_t)7), STRATA_INVALID_ARGUMENT, "from");
  FAILS(strata_transaction_write(w.transaction, w.bytes, &number, ~(uint64_t)0),
        STRATA_INVALID_ARGUMENT, "value");
  FAILS(strata_heap_address(w.heap, ~(uint64_t)0, 16, &address), STRATA_INVALID_ARGUMENT, "");
  CHECK(strata_heap_allocate(w.heap, ~(uint64_t)0, 16, &number) != STRATA_OK);
  CHECK(strata_segment_grow(w.segment, ~(uint64_t)0, 0) != STRATA_OK);
  CHECK(strata_segment_persist(w.segment, ~(uint64_t)0, 2) != STRATA_OK);
  MUST(strata_heap_check(w.heap));
}

int main(int argc, char** argv) {
  static const test_case cases[] = {
      CASE(null_handles_and_places_are_named),
      CASE(a_handle_of_another_type_is_none),
      CASE(names_that_cannot_be_are_refused),
      CASE(options_that_cannot_be_are_refused_with_their_field),
      CASE(an_older_program_gets_what_its_struct_has_room_for),
      CASE(types_that_cannot_be_are_refused),
      CASE(locks_and_rings_have_to_lie_in_the_segment),
      CASE(a_loan_that_was_made_up_is_not_held),
      CASE(sizes_that_no_memory_has_are_refused),
  };
  return run_cases(argc, argv, cases, CASE_COUNT(cases));
}
