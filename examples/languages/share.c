/* A ledger that programs in C, Fortran and Python share: each reads what the others have written,
 * and adds an entry under the ledger's lock. This one makes it where it is not there yet.
 *
 *     share shm:ledger           add an entry
 *     share shm:ledger remove    take it away
 */
#include <stdio.h>
#include <string.h>

#include "strata/c.h"

/* The same bytes in every language: a lock, then numbers. */
typedef struct entry {
  char language[16];
  int64_t value;
} entry;

typedef struct ledger {
  strata_mutex lock;
  int64_t total;
  int64_t entry_count;
  entry entries[8];
} ledger;

static const strata_type ledger_type = STRATA_TYPE(ledger, "example.ledger", 1);

/* Runs before anybody else sees the segment. */
static int make_ledger(strata_segment* segment, void* unused) {
  strata_heap* heap = NULL;
  int code = strata_heap_create(segment, NULL, &heap);
  (void)unused;
  if (code == STRATA_OK) code = strata_heap_make(heap, "ledger", &ledger_type, NULL, NULL);
  strata_heap_close(heap);
  return code;
}

static int add_entry(ledger* book) {
  int64_t i;
  if (book->entry_count == 8) return STRATA_EXHAUSTED;
  for (i = 0; i < book->entry_count; ++i)
    printf("C reads: %s added %d\n", book->entries[i].language, (int)book->entries[i].value);
  strcpy(book->entries[i].language, "C");
  book->entries[i].value = book->entry_count + 1;
  book->total += book->entries[i].value;
  book->entry_count += 1;
  printf("C makes the total %d\n", (int)book->total);
  return STRATA_OK;
}

static int share(strata_segment* segment) {
  strata_heap* heap = NULL;
  strata_sync_context* context = NULL;
  void* found = NULL;
  int how = STRATA_CLEAN;
  int code = strata_heap_open(segment, &heap);
  if (code == STRATA_OK) code = strata_heap_find(heap, "ledger", &ledger_type, &found);
  if (code == STRATA_OK) code = strata_sync_context_open(segment, &context);
  if (code == STRATA_OK) code = strata_mutex_lock(context, &((ledger*)found)->lock, 10000, &how);
  if (code == STRATA_OK) {
    /* Where the last holder died, what it changed would be repaired here. */
    if (how == STRATA_OWNER_DIED) strata_mutex_mark_repaired(context, &((ledger*)found)->lock);
    code = add_entry(found);
    strata_mutex_unlock(context, &((ledger*)found)->lock);
  }
  strata_sync_context_close(context);
  strata_heap_close(heap);
  return code;
}

int main(int argc, char** argv) {
  strata_create_options options = {.size = sizeof options, .payload_bytes = 1 << 20};
  strata_catalog* catalog = NULL;
  strata_segment* segment = NULL;
  int code;
  if (argc < 2) return 2;
  code = strata_catalog_open(NULL, &catalog);
  if (code == STRATA_OK && argc > 2) {
    code = strata_catalog_remove(catalog, argv[1], NULL);
  } else if (code == STRATA_OK) {
    code = strata_catalog_create_or_attach(catalog, argv[1], &options, make_ledger, NULL, NULL,
                                           &segment, NULL);
    if (code == STRATA_OK) code = share(segment);
  }
  if (code != STRATA_OK)
    fprintf(stderr, "%s: %s\n", strata_code_name(code), strata_error_message());
  strata_segment_close(segment);
  strata_catalog_close(catalog);
  return code == STRATA_OK ? 0 : 1;
}
