/* Handles are closed in any order, and each works as long as it is open. */
#define _GNU_SOURCE
#include <pthread.h>

#include "c/c_testing.h"

typedef struct words {
  strata_mutex lock, other_lock;
  uint64_t value;
} words;

static const strata_type words_type = STRATA_TYPE(words, "life.words", 1);
static const strata_ring_options ring_of_2 = {sizeof(strata_ring_options), 2, 16};

/* Those before SHARED are closed in every order. */
enum { CATALOG, SEGMENT, CONTEXT, HEAP, TRANSACTION, PRODUCER, SHARED, HANDLE_COUNT };

typedef struct handles {
  strata_catalog* catalog;
  strata_segment* segment;
  strata_segment* shared;
  strata_sync_context* context;
  strata_heap* heap;
  strata_transaction* transaction;
  strata_spsc_producer* producer;
  words* words;
  int is_open[HANDLE_COUNT];
} handles;

static void open_all(handles* all) {
  void *found = NULL, *ring = NULL;
  uint64_t offset = 0, bytes = 0;
  strata_mutex* locks[1];
  int i;
  memset(all, 0, sizeof *all);
  all->catalog = open_test_catalog();
  all->segment = make_test_segment(all->catalog, test_uri("shm:c-life"), 1u << 20);
  MUST(strata_segment_share(all->segment, &all->shared));
  MUST(strata_sync_context_open(all->segment, &all->context));
  MUST(strata_heap_create(all->segment, NULL, &all->heap));
  MUST(strata_heap_make(all->heap, "words", &words_type, NULL, &found));
  all->words = found;
  MUST(strata_spsc_ring_bytes(&ring_of_2, &bytes));
  MUST(strata_heap_allocate(all->heap, bytes, 64, &offset));
  MUST(strata_heap_address(all->heap, offset, bytes, &ring));
  MUST(strata_spsc_ring_format(all->context, ring, &ring_of_2));
  MUST(strata_spsc_producer_open(all->context, ring, &all->producer, NULL));
  locks[0] = &all->words->lock;
  MUST(strata_transaction_begin(all->heap, locks, 1, SOON_MS, &all->transaction));
  for (i = 0; i < HANDLE_COUNT; ++i)
    all->is_open[i] = 1;
}

/* What is open does what it is there for. */
static void use(const handles* all) {
  const uint64_t value = 7;
  void* found = NULL;
  char byte;
  int how;
  if (all->is_open[SEGMENT]) MUST(strata_segment_read(all->segment, 0, &byte, 1));
  if (all->is_open[SHARED]) MUST(strata_segment_settle(all->shared));
  if (all->is_open[CONTEXT]) {
    MUST(strata_mutex_lock(all->context, &all->words->other_lock, SOON_MS, &how));
    MUST(strata_mutex_unlock(all->context, &all->words->other_lock));
  }
  if (all->is_open[HEAP]) {
    MUST(strata_heap_find(all->heap, "words", &words_type, &found));
    CHECK(found == all->words);
  }
  if (all->is_open[TRANSACTION])
    MUST(strata_transaction_write(all->transaction, &all->words->value, &value, sizeof value));
  if (all->is_open[PRODUCER]) {
    void* message = NULL;
    MUST(strata_spsc_producer_loan(all->producer, 0, &message, NULL));
  }
}

static void close_one(handles* all, int which) {
  all->is_open[which] = 0;
  switch (which) {
    case CATALOG: strata_catalog_close(all->catalog); break;
    case SEGMENT: strata_segment_close(all->segment); break;
    case SHARED: strata_segment_close(all->shared); break;
    case CONTEXT: strata_sync_context_close(all->context); break;
    case HEAP: strata_heap_close(all->heap); break;
    case TRANSACTION: strata_transaction_close(all->transaction); break;
    default: strata_spsc_producer_close(all->producer); break;
  }
}

/* The next order of the alphabet of orders; 0 after the last. */
static int next_order(int order[SHARED]) {
  int i = SHARED - 2, j = SHARED - 1, swap;
  while (i >= 0 && order[i] > order[i + 1])
    --i;
  if (i < 0) return 0;
  while (order[j] < order[i])
    --j;
  swap = order[i], order[i] = order[j], order[j] = swap;
  for (++i, j = SHARED - 1; i < j; ++i, --j)
    swap = order[i], order[i] = order[j], order[j] = swap;
  return 1;
}

static void handles_are_closed_in_every_order(void) {
  int order[SHARED], i, orders = 0;
  for (i = 0; i < SHARED; ++i)
    order[i] = i;
  do {
    handles all;
    open_all(&all);
    close_one(&all, SHARED);
    for (i = 0; i < SHARED; ++i) {
      use(&all);
      close_one(&all, order[i]);
    }
    ++orders;
  } while (next_order(order));
  printf("verified: %d orders of closing handles\n", orders);
  CHECK(orders == 720);
}

static void the_last_handle_detaches(void) {
  strata_segment_stat stat = {.size = sizeof stat};
  strata_catalog* catalog = open_test_catalog();
  handles all;
  int i;
  char uri[300];
  open_all(&all);
  snprintf(uri, sizeof uri, "%s", strata_segment_uri(all.segment));
  for (i = 0; i < HANDLE_COUNT; ++i) {
    MUST(strata_catalog_stat(catalog, uri, &stat));
    CHECK(stat.is_attached);
    close_one(&all, i);
  }
  /* It was to end with this process; it ends with the last attachment of it, at the latest. */
  if (strata_catalog_stat(catalog, uri, &stat) == STRATA_OK) CHECK(!stat.is_attached);
  strata_catalog_close(catalog);
}

static void* end_the_transaction(void* of_main) {
  handles* const all = of_main;
  const uint64_t value = 5;
  MUST(strata_transaction_write(all->transaction, &all->words->value, &value, sizeof value));
  MUST(strata_transaction_commit(all->transaction));
  close_one(all, TRANSACTION);
  close_one(all, HEAP);
  return NULL;
}

static void another_thread_ends_what_this_one_began(void) {
  pthread_t thread;
  handles all;
  int i;
  open_all(&all);
  use(&all);
  CHECK(pthread_create(&thread, NULL, end_the_transaction, &all) == 0);
  CHECK(pthread_join(thread, NULL) == 0);
  CHECK(all.words->value == 5);
  for (i = 0; i < HANDLE_COUNT; ++i)
    if (all.is_open[i]) close_one(&all, i);
}

static void close_all_in_a_child(void* of_parent) {
  handles* const all = of_parent;
  const uint64_t value = 99;
  int i;
  FAILS(strata_transaction_write(all->transaction, &all->words->value, &value, sizeof value),
        STRATA_FAILED_PRECONDITION, "forked");
  for (i = 0; i < HANDLE_COUNT; ++i)
    close_one(all, i);
}

static void a_forked_child_that_closes_what_it_inherits_disturbs_nobody(void) {
  handles all;
  int i;
  open_all(&all);
  use(&all);
  must_end_well(start_child(close_all_in_a_child, &all));
  use(&all);
  MUST(strata_transaction_commit(all.transaction));
  CHECK(all.words->value == 7);
  MUST(strata_heap_check(all.heap));
  for (i = 0; i < HANDLE_COUNT; ++i)
    close_one(&all, i);
}

static void* fail_and_look(void* unused) {
  strata_catalog* catalog = open_test_catalog();
  strata_segment* segment = NULL;
  (void)unused;
  CHECK(strata_error_code() == STRATA_OK);
  FAILS(strata_catalog_attach(catalog, "shm:c-of-a-thread", NULL, &segment), STRATA_NOT_FOUND,
        "c-of-a-thread");
  strata_catalog_close(catalog);
  return NULL;
}

static void each_thread_has_its_own_last_error(void) {
  pthread_t thread;
  FAILS(strata_catalog_create(NULL, "shm:x", NULL, NULL), STRATA_INVALID_ARGUMENT, "catalog");
  CHECK(pthread_create(&thread, NULL, fail_and_look, NULL) == 0);
  CHECK(pthread_join(thread, NULL) == 0);
  CHECK(strata_error_code() == STRATA_INVALID_ARGUMENT);
  CHECK(strstr(strata_error_message(), "`catalog` is NULL") != NULL);
}

static void closing_null_is_nothing(void) {
  strata_catalog_close(NULL);
  strata_segment_close(NULL);
  strata_sync_context_close(NULL);
  strata_spsc_producer_close(NULL);
  strata_spsc_consumer_close(NULL);
  strata_mpmc_ring_close(NULL);
  strata_heap_close(NULL);
  strata_draft_close(NULL);
  strata_transaction_close(NULL);
  strata_pool_close(NULL);
  strata_timeline_close(NULL);
  strata_signaller_close(NULL);
  strata_follower_close(NULL);
  strata_pending_wait_close(NULL);
  CHECK(strata_error_code() == STRATA_OK);
}

int main(int argc, char** argv) {
  static const test_case cases[] = {
      CASE(handles_are_closed_in_every_order),
      CASE(the_last_handle_detaches),
      CASE(another_thread_ends_what_this_one_began),
      CASE(a_forked_child_that_closes_what_it_inherits_disturbs_nobody),
      CASE(each_thread_has_its_own_last_error),
      CASE(closing_null_is_nothing),
  };
  return run_cases(argc, argv, cases, CASE_COUNT(cases));
}
