/* Locks, signals and rings between two processes through <strata/c.h>. */
#define _GNU_SOURCE
#include "c/c_testing.h"

typedef struct shared {
  strata_mutex mutex;
  strata_rw_lock rw_lock;
  strata_semaphore semaphore;
  strata_event ready, done;
  strata_barrier barrier;
  strata_condition condition;
  uint64_t value;
  uint64_t other;
} shared;

#define SPSC_AT 16384u
#define MPMC_AT 65536u
#define SEGMENT_BYTES (256u * 1024)

static const strata_ring_options ring_of_8 = {sizeof(strata_ring_options), 8, 64};

/* This process in the segment. */
typedef struct party {
  strata_catalog* catalog;
  strata_segment* segment;
  strata_sync_context* context;
  shared* words;
  char* bytes;
} party;

static party join(strata_segment* segment) {
  party self = {NULL, segment, NULL, NULL, NULL};
  void* bytes = NULL;
  MUST(strata_segment_writable_bytes(segment, &bytes, NULL));
  MUST(strata_sync_context_open(segment, &self.context));
  self.words = bytes;
  self.bytes = bytes;
  return self;
}

static party create(void) {
  strata_catalog* catalog = open_test_catalog();
  party self = join(make_test_segment(catalog, test_uri("shm:c-sync"), SEGMENT_BYTES));
  self.catalog = catalog;
  return self;
}

/* In a child of the process that created it. */
static party attach(void* uri) {
  strata_catalog* catalog = open_test_catalog();
  strata_segment* segment = NULL;
  party self;
  MUST(strata_catalog_attach(catalog, uri, NULL, &segment));
  self = join(segment);
  self.catalog = catalog;
  return self;
}

static void leave(party* self) {
  strata_sync_context_close(self->context);
  strata_segment_close(self->segment);
  strata_catalog_close(self->catalog);
}

static void* uri_of(const party* self) { return (void*)(size_t)strata_segment_uri(self->segment); }

#define ROUNDS 2000

static void count_under_the_mutex(party* self) {
  int i, how;
  for (i = 0; i < ROUNDS; ++i) {
    MUST(strata_mutex_lock(self->context, &self->words->mutex, SOON_MS, &how));
    CHECK(how == STRATA_CLEAN);
    self->words->value += 1;
    MUST(strata_mutex_unlock(self->context, &self->words->mutex));
  }
}

static void count_too(void* uri) {
  party self = attach(uri);
  count_under_the_mutex(&self);
  leave(&self);
}

static void two_processes_count_under_one_mutex(void) {
  party self = create();
  const pid_t child = start_child(count_too, uri_of(&self));
  int is_held = 1, how = -1;
  count_under_the_mutex(&self);
  must_end_well(child);
  CHECK(self.words->value == 2 * ROUNDS);
  MUST(strata_mutex_is_held(self.context, &self.words->mutex, &is_held));
  CHECK(!is_held);
  FAILS(strata_mutex_unlock(self.context, &self.words->mutex), STRATA_FAILED_PRECONDITION, "");
  MUST(strata_mutex_lock(self.context, &self.words->mutex, 0, &how));
  FAILS(strata_mutex_lock(self.context, &self.words->mutex, 0, &how), STRATA_TIMED_OUT, "");
  MUST(strata_mutex_unlock(self.context, &self.words->mutex));
  leave(&self);
}

static void lock_and_die(void* uri) {
  party self = attach(uri);
  int how;
  MUST(strata_mutex_lock(self.context, &self.words->mutex, SOON_MS, &how));
  MUST(strata_rw_lock_lock(self.context, &self.words->rw_lock, SOON_MS, &how));
  self.words->value = 1;
  raise(SIGKILL);
}

static void the_next_owner_learns_that_the_last_one_died_until_somebody_repairs(void) {
  party self = create();
  int how = -1;
  uint32_t hold;
  must_be_killed(start_child(lock_and_die, uri_of(&self)));
  MUST(strata_mutex_lock(self.context, &self.words->mutex, SOON_MS, &how));
  CHECK(how == STRATA_OWNER_DIED);
  MUST(strata_mutex_unlock(self.context, &self.words->mutex));
  MUST(strata_mutex_lock(self.context, &self.words->mutex, SOON_MS, &how));
  CHECK(how == STRATA_OWNER_DIED);
  MUST(strata_mutex_mark_repaired(self.context, &self.words->mutex));
  MUST(strata_mutex_unlock(self.context, &self.words->mutex));
  MUST(strata_mutex_lock(self.context, &self.words->mutex, SOON_MS, &how));
  CHECK(how == STRATA_CLEAN);
  MUST(strata_mutex_unlock(self.context, &self.words->mutex));

  MUST(strata_rw_lock_lock(self.context, &self.words->rw_lock, SOON_MS, &how));
  CHECK(how == STRATA_OWNER_DIED);
  MUST(strata_rw_lock_unlock(self.context, &self.words->rw_lock));
  FAILS(strata_rw_lock_lock_shared(self.context, &self.words->rw_lock, SOON_MS, &hold),
        STRATA_NOT_READY, "");
  MUST(strata_rw_lock_lock(self.context, &self.words->rw_lock, SOON_MS, &how));
  MUST(strata_rw_lock_mark_repaired(self.context, &self.words->rw_lock));
  MUST(strata_rw_lock_unlock(self.context, &self.words->rw_lock));
  MUST(strata_rw_lock_lock_shared(self.context, &self.words->rw_lock, SOON_MS, &hold));
  MUST(strata_rw_lock_unlock_shared(self.context, &self.words->rw_lock, hold));
  FAILS(strata_rw_lock_unlock_shared(self.context, &self.words->rw_lock, hold),
        STRATA_FAILED_PRECONDITION, "");
  leave(&self);
}

static void read_beside_the_other_reader(void* uri) {
  party self = attach(uri);
  uint32_t hold;
  int how;
  MUST(strata_rw_lock_lock_shared(self.context, &self.words->rw_lock, SOON_MS, &hold));
  FAILS(strata_rw_lock_lock(self.context, &self.words->rw_lock, 0, &how), STRATA_TIMED_OUT, "");
  MUST(strata_rw_lock_unlock_shared(self.context, &self.words->rw_lock, hold));
  leave(&self);
}

static void readers_share_a_lock_and_writers_do_not(void) {
  party self = create();
  uint32_t hold;
  int how = -1;
  MUST(strata_rw_lock_lock_shared(self.context, &self.words->rw_lock, SOON_MS, &hold));
  must_end_well(start_child(read_beside_the_other_reader, uri_of(&self)));
  MUST(strata_rw_lock_unlock_shared(self.context, &self.words->rw_lock, hold));
  MUST(strata_rw_lock_lock(self.context, &self.words->rw_lock, SOON_MS, &how));
  CHECK(how == STRATA_CLEAN);
  FAILS(strata_rw_lock_lock_shared(self.context, &self.words->rw_lock, 0, &hold), STRATA_TIMED_OUT,
        "");
  MUST(strata_rw_lock_unlock(self.context, &self.words->rw_lock));
  leave(&self);
}

static void acquire_and_die(void* uri) {
  party self = attach(uri);
  uint32_t permit;
  int how;
  MUST(strata_semaphore_acquire(self.context, &self.words->semaphore, SOON_MS, &permit, &how));
  raise(SIGKILL);
}

static void a_permit_comes_back_from_a_process_that_died(void) {
  party self = create();
  uint32_t first, second, third = 0;
  int how = -1;
  MUST(strata_semaphore_init(self.context, &self.words->semaphore, 2));
  MUST(strata_semaphore_acquire(self.context, &self.words->semaphore, 0, &first, &how));
  must_be_killed(start_child(acquire_and_die, uri_of(&self)));
  MUST(strata_semaphore_acquire(self.context, &self.words->semaphore, SOON_MS, &second, &how));
  CHECK(how == STRATA_OWNER_DIED && first != second);
  FAILS(strata_semaphore_acquire(self.context, &self.words->semaphore, 0, &third, &how),
        STRATA_TIMED_OUT, "");
  MUST(strata_semaphore_release(self.context, &self.words->semaphore, first));
  FAILS(strata_semaphore_release(self.context, &self.words->semaphore, first),
        STRATA_FAILED_PRECONDITION, "");
  FAILS(strata_semaphore_release(self.context, &self.words->semaphore, 99),
        STRATA_FAILED_PRECONDITION, "99");
  FAILS(strata_semaphore_init(self.context, &self.words->semaphore, 63), STRATA_INVALID_ARGUMENT,
        "permits");
  leave(&self);
}

static void answer_the_event(void* uri) {
  party self = attach(uri);
  MUST(strata_event_wait(self.context, &self.words->ready, SOON_MS));
  CHECK(self.words->value == 7);
  self.words->other = 8;
  MUST(strata_event_set(self.context, &self.words->done));
  leave(&self);
}

static void an_event_passes_what_was_written_before_it(void) {
  party self = create();
  const pid_t child = start_child(answer_the_event, uri_of(&self));
  int is_set = -1;
  MUST(strata_event_is_set(self.context, &self.words->done, &is_set));
  CHECK(is_set == 0);
  FAILS(strata_event_wait(self.context, &self.words->done, 0), STRATA_TIMED_OUT, "");
  self.words->value = 7;
  MUST(strata_event_set(self.context, &self.words->ready));
  MUST(strata_event_wait(self.context, &self.words->done, SOON_MS));
  CHECK(self.words->other == 8);
  MUST(strata_event_reset(self.context, &self.words->done));
  MUST(strata_event_is_set(self.context, &self.words->done, &is_set));
  CHECK(is_set == 0);
  must_end_well(child);
  leave(&self);
}

static void pass_the_barrier(party* self, uint64_t* mine, const uint64_t* others) {
  strata_arrival arrival;
  uint32_t seat;
  uint64_t phase;
  MUST(strata_barrier_join(self->context, &self->words->barrier, &seat));
  for (phase = 1; phase <= 50; ++phase) {
    *(volatile uint64_t*)mine = phase;
    MUST(strata_barrier_arrive(self->context, &self->words->barrier, seat, &arrival));
    MUST(strata_barrier_wait(self->context, &self->words->barrier, &arrival, SOON_MS));
    CHECK(*(const volatile uint64_t*)others >= phase);
  }
}

static void pass_too(void* uri) {
  party self = attach(uri);
  pass_the_barrier(&self, &self.words->other, &self.words->value);
  leave(&self);
}

static void join_and_die(void* uri) {
  party self = attach(uri);
  uint32_t seat;
  MUST(strata_barrier_join(self.context, &self.words->barrier, &seat));
  raise(SIGKILL);
}

static void arrive_once(void* uri) {
  party self = attach(uri);
  strata_arrival arrival;
  uint32_t seat;
  MUST(strata_barrier_join(self.context, &self.words->barrier, &seat));
  MUST(strata_barrier_arrive(self.context, &self.words->barrier, seat, &arrival));
  MUST(strata_barrier_wait(self.context, &self.words->barrier, &arrival, SOON_MS));
  leave(&self);
}

static void processes_wait_for_each_other_at_a_barrier_and_learn_of_deaths(void) {
  party self = create();
  strata_arrival arrival;
  uint32_t seat;
  pid_t child;
  MUST(strata_barrier_init(self.context, &self.words->barrier, 2));
  child = start_child(pass_too, uri_of(&self));
  pass_the_barrier(&self, &self.words->value, &self.words->other);
  must_end_well(child);

  MUST(strata_barrier_init(self.context, &self.words->barrier, 2));
  must_be_killed(start_child(join_and_die, uri_of(&self)));
  MUST(strata_barrier_join(self.context, &self.words->barrier, &seat));
  MUST(strata_barrier_arrive(self.context, &self.words->barrier, seat, &arrival));
  FAILS(strata_barrier_wait(self.context, &self.words->barrier, &arrival, SOON_MS),
        STRATA_FAILED_PRECONDITION, "died");
  /* The arrival stands, and another takes the dead one's place. */
  child = start_child(arrive_once, uri_of(&self));
  must_end_well(child);
  MUST(strata_barrier_wait(self.context, &self.words->barrier, &arrival, SOON_MS));
  MUST(strata_barrier_leave(self.context, &self.words->barrier, seat));
  FAILS(strata_barrier_leave(self.context, &self.words->barrier, 77), STRATA_FAILED_PRECONDITION,
        "77");
  FAILS(strata_barrier_init(self.context, &self.words->barrier, 0), STRATA_INVALID_ARGUMENT,
        "participants");
  leave(&self);
}

static void change_and_notify(void* uri) {
  party self = attach(uri);
  int how;
  MUST(strata_mutex_lock(self.context, &self.words->mutex, SOON_MS, &how));
  self.words->value = 5;
  MUST(strata_condition_notify_all(self.context, &self.words->condition));
  MUST(strata_mutex_unlock(self.context, &self.words->mutex));
  leave(&self);
}

static void a_waiter_at_a_condition_sees_the_change_with_the_mutex_held(void) {
  party self = create();
  int how = -1, was_notified = -1, is_held = 0;
  pid_t child;
  MUST(strata_mutex_lock(self.context, &self.words->mutex, SOON_MS, &how));
  MUST(strata_condition_wait(self.context, &self.words->condition, &self.words->mutex, 0,
                             &was_notified, &how));
  CHECK(was_notified == 0 && how == STRATA_CLEAN);
  child = start_child(change_and_notify, uri_of(&self));
  while (self.words->value != 5)
    MUST(strata_condition_wait(self.context, &self.words->condition, &self.words->mutex, SOON_MS,
                               &was_notified, &how));
  MUST(strata_mutex_is_held(self.context, &self.words->mutex, &is_held));
  CHECK(is_held);
  MUST(strata_condition_notify_one(self.context, &self.words->condition));
  MUST(strata_mutex_unlock(self.context, &self.words->mutex));
  must_end_well(child);
  leave(&self);
}

static void produce_ten(void* uri) {
  party self = attach(uri);
  strata_spsc_producer* producer = NULL;
  uint64_t number;
  MUST(strata_spsc_producer_open(self.context, self.bytes + SPSC_AT, &producer, NULL));
  for (number = 0; number < 10; ++number) {
    void* message = NULL;
    size_t room = 0;
    if (number % 2 == 0) {
      MUST(strata_spsc_producer_send(producer, &number, sizeof number, SOON_MS));
      continue;
    }
    MUST(strata_spsc_producer_loan(producer, SOON_MS, &message, &room));
    CHECK(room == 64);
    memcpy(message, &number, sizeof number);
    MUST(strata_spsc_producer_publish(producer, sizeof number));
  }
  raise(SIGKILL);
}

static void a_ring_of_two_ends_carries_messages_and_replaces_the_dead(void) {
  party self = create();
  strata_spsc_consumer* consumer = NULL;
  strata_spsc_producer* producer = NULL;
  const void* message = NULL;
  uint64_t bytes = 0, number, got;
  size_t size = 0;
  int died = -1;
  pid_t child;
  MUST(strata_spsc_ring_bytes(&ring_of_8, &bytes));
  CHECK(bytes > 8 * 64 && bytes < MPMC_AT - SPSC_AT);
  FAILS(strata_spsc_consumer_open(self.context, self.bytes + SPSC_AT, &consumer, NULL),
        STRATA_NOT_READY, "");
  MUST(strata_spsc_ring_format(self.context, self.bytes + SPSC_AT, &ring_of_8));
  child = start_child(produce_ten, uri_of(&self));
  MUST(strata_spsc_consumer_open(self.context, self.bytes + SPSC_AT, &consumer, &died));
  CHECK(died == 0);
  for (number = 0; number < 10; ++number) {
    MUST(strata_spsc_consumer_receive(consumer, SOON_MS, &message, &size));
    memcpy(&got, message, sizeof got);
    CHECK(size == sizeof got && got == number);
    MUST(strata_spsc_consumer_release(consumer));
  }
  must_be_killed(child);
  FAILS(strata_spsc_consumer_receive(consumer, 0, &message, &size), STRATA_TIMED_OUT, "");
  FAILS(strata_spsc_consumer_release(consumer), STRATA_FAILED_PRECONDITION, "");
  MUST(strata_spsc_producer_open(self.context, self.bytes + SPSC_AT, &producer, &died));
  CHECK(died == 1);
  FAILS(strata_spsc_producer_send(producer, self.bytes, 65, 0), STRATA_INVALID_ARGUMENT, "65");
  strata_spsc_producer_close(producer);
  strata_spsc_consumer_close(consumer);
  leave(&self);
}

static void produce_into_the_ring_of_many(void* uri) {
  party self = attach(uri);
  strata_mpmc_ring* ring = NULL;
  strata_loan loan;
  uint64_t number;
  MUST(strata_mpmc_ring_open(self.context, self.bytes + MPMC_AT, &ring));
  for (number = 1; number <= 100; ++number)
    MUST(strata_mpmc_ring_send(ring, &number, sizeof number, SOON_MS));
  /* What it holds comes back when it dies. */
  MUST(strata_mpmc_ring_loan(ring, SOON_MS, &loan));
  raise(SIGKILL);
}

static void a_ring_of_many_ends_hands_each_message_to_one(void) {
  party self = create();
  strata_mpmc_ring* ring = NULL;
  strata_message message;
  strata_loan loan;
  uint64_t bytes = 0, sum = 0, number;
  pid_t children[2];
  int i;
  MUST(strata_mpmc_ring_bytes(&ring_of_8, &bytes));
  MUST(strata_mpmc_ring_format(self.context, self.bytes + MPMC_AT, &ring_of_8));
  MUST(strata_mpmc_ring_open(self.context, self.bytes + MPMC_AT, &ring));
  for (i = 0; i < 2; ++i)
    children[i] = start_child(produce_into_the_ring_of_many, uri_of(&self));
  for (i = 0; i < 200; ++i) {
    MUST(strata_mpmc_ring_receive(ring, SOON_MS, &message));
    CHECK(message.bytes == sizeof number);
    memcpy(&number, message.data, sizeof number);
    sum += number;
    MUST(strata_mpmc_ring_release(ring, &message));
    CHECK(message.data == NULL);
  }
  CHECK(sum == 2 * 5050);
  for (i = 0; i < 2; ++i)
    must_be_killed(children[i]);
  FAILS(strata_mpmc_ring_receive(ring, 0, &message), STRATA_TIMED_OUT, "");
  FAILS(strata_mpmc_ring_release(ring, &message), STRATA_FAILED_PRECONDITION, "");
  /* All eight slots can be had: those of the dead too. */
  for (i = 0; i < 8; ++i)
    MUST(strata_mpmc_ring_loan(ring, SOON_MS, &loan));
  FAILS(strata_mpmc_ring_publish(ring, &loan, 65), STRATA_INVALID_ARGUMENT, "65");
  MUST(strata_mpmc_ring_publish(ring, &loan, 1));
  FAILS(strata_mpmc_ring_publish(ring, &loan, 1), STRATA_FAILED_PRECONDITION, "");
  FAILS(strata_mpmc_ring_abandon(ring, &loan), STRATA_FAILED_PRECONDITION, "");
  MUST(strata_mpmc_ring_receive(ring, SOON_MS, &message));
  MUST(strata_mpmc_ring_release(ring, &message));
  MUST(strata_mpmc_ring_loan(ring, SOON_MS, &loan));
  MUST(strata_mpmc_ring_abandon(ring, &loan));
  strata_mpmc_ring_close(ring);
  leave(&self);
}

static void use_the_context_of_the_parent(void* inherited) {
  party* self = inherited;
  party mine;
  int how = -1;
  FAILS(strata_mutex_lock(self->context, &self->words->mutex, 0, &how), STRATA_FAILED_PRECONDITION,
        "");
  mine = join(self->segment);
  MUST(strata_mutex_lock(mine.context, &mine.words->mutex, SOON_MS, &how));
  MUST(strata_mutex_unlock(mine.context, &mine.words->mutex));
}

static void a_forked_child_locks_with_a_context_of_its_own_alone(void) {
  party self = create();
  must_end_well(start_child(use_the_context_of_the_parent, &self));
  leave(&self);
}

static void a_lock_in_a_segment_that_was_sealed_is_refused(void) {
  party self = create();
  int how = -1;
  MUST(strata_mutex_lock(self.context, &self.words->mutex, 0, &how));
  MUST(strata_mutex_unlock(self.context, &self.words->mutex));
  MUST(strata_segment_seal(self.segment, SOON_MS));
  FAILS(strata_mutex_lock(self.context, &self.words->mutex, 0, &how), STRATA_FAILED_PRECONDITION,
        "sealed");
  FAILS(strata_event_set(self.context, &self.words->ready), STRATA_FAILED_PRECONDITION, "sealed");
  leave(&self);
}

static void a_lock_in_memory_that_another_added_is_used_after_a_refresh(void) {
  strata_create_options options = {.size = sizeof options,
                                   .payload_bytes = 8192,
                                   .max_bytes = 65536,
                                   .lifetime = STRATA_LIFETIME_PROCESS};
  strata_catalog* catalog = open_test_catalog();
  strata_segment *first = NULL, *second = NULL;
  const char* uri = test_uri("shm:c-growing");
  strata_mutex* added;
  party self;
  int how = -1;
  MUST(strata_catalog_create(catalog, uri, &options, &first));
  MUST(strata_catalog_attach(catalog, uri, NULL, &second));
  self = join(first);
  self.catalog = catalog;
  MUST(strata_segment_grow(second, 65536, SOON_MS));
  added = (strata_mutex*)(void*)(self.bytes + 65536 - sizeof *added);
  FAILS(strata_mutex_lock(self.context, added, 0, &how), STRATA_INVALID_ARGUMENT, "refreshed");
  MUST(strata_segment_refresh(first, NULL));
  MUST(strata_mutex_lock(self.context, added, 0, &how));
  CHECK(how == STRATA_CLEAN);
  MUST(strata_mutex_unlock(self.context, added));
  strata_segment_close(second);
  leave(&self);
}

int main(int argc, char** argv) {
  static const test_case cases[] = {
      CASE(two_processes_count_under_one_mutex),
      CASE(the_next_owner_learns_that_the_last_one_died_until_somebody_repairs),
      CASE(readers_share_a_lock_and_writers_do_not),
      CASE(a_permit_comes_back_from_a_process_that_died),
      CASE(an_event_passes_what_was_written_before_it),
      CASE(processes_wait_for_each_other_at_a_barrier_and_learn_of_deaths),
      CASE(a_waiter_at_a_condition_sees_the_change_with_the_mutex_held),
      CASE(a_ring_of_two_ends_carries_messages_and_replaces_the_dead),
      CASE(a_ring_of_many_ends_hands_each_message_to_one),
      CASE(a_forked_child_locks_with_a_context_of_its_own_alone),
      CASE(a_lock_in_a_segment_that_was_sealed_is_refused),
      CASE(a_lock_in_memory_that_another_added_is_used_after_a_refresh),
  };
  return run_cases(argc, argv, cases, CASE_COUNT(cases));
}
