/* Named objects and transactions through <strata/c.h>, with processes that die in the middle. */
#define _GNU_SOURCE
#include "c/c_testing.h"

typedef struct account {
  strata_mutex lock;
  int64_t alice;
  int64_t bob;
  uint64_t note; /* offset of a block */
} account;

static const strata_type account_type = STRATA_TYPE(account, "bank.account", 1);
static const strata_type newer_type = STRATA_TYPE(account, "bank.account", 2);
static const strata_type number_type = STRATA_TYPE(uint64_t, "bank.number", 1);

typedef struct bank {
  strata_catalog* catalog;
  strata_segment* segment;
  strata_heap* heap;
  account* accounts;
} bank;

static bank open_bank(void) {
  static const strata_heap_options by_node = {.size = sizeof by_node, .is_by_node = 1};
  static const account initial = {{{0}}, 100, 0, 0};
  bank self;
  void* made = NULL;
  self.catalog = open_test_catalog();
  self.segment = make_test_segment(self.catalog, test_uri("shm:c-heap"), 4u << 20);
  MUST(strata_heap_create(self.segment, &by_node, &self.heap));
  MUST(strata_heap_make(self.heap, "accounts", &account_type, &initial, &made));
  self.accounts = made;
  return self;
}

static bank attach_bank(void* uri) {
  bank self;
  void* found = NULL;
  self.catalog = open_test_catalog();
  self.segment = NULL;
  MUST(strata_catalog_attach(self.catalog, uri, NULL, &self.segment));
  MUST(strata_heap_open(self.segment, &self.heap));
  MUST(strata_heap_find(self.heap, "accounts", &account_type, &found));
  self.accounts = found;
  return self;
}

static void close_bank(bank* self) {
  MUST(strata_heap_check(self->heap));
  strata_heap_close(self->heap);
  strata_segment_close(self->segment);
  strata_catalog_close(self->catalog);
}

static void* uri_of(const bank* self) { return (void*)(size_t)strata_segment_uri(self->segment); }

static strata_transaction* begin(bank* self) {
  strata_transaction* transaction = NULL;
  strata_mutex* locks[1];
  locks[0] = &self->accounts->lock;
  MUST(strata_transaction_begin(self->heap, locks, 1, SOON_MS, &transaction));
  return transaction;
}

static void pay(bank* self, strata_transaction* transaction, int64_t amount) {
  int64_t alice, bob;
  MUST(strata_transaction_read(transaction, &alice, &self->accounts->alice, sizeof alice));
  MUST(strata_transaction_read(transaction, &bob, &self->accounts->bob, sizeof bob));
  alice -= amount;
  bob += amount;
  MUST(strata_transaction_write(transaction, &self->accounts->alice, &alice, sizeof alice));
  MUST(strata_transaction_write(transaction, &self->accounts->bob, &bob, sizeof bob));
}

static int has_paid(const bank* self, int64_t amount) {
  return self->accounts->alice == 100 - amount && self->accounts->bob == amount;
}

static void look_at_the_accounts(void* uri) {
  bank self = attach_bank(uri);
  void* found = NULL;
  CHECK(has_paid(&self, 0));
  FAILS(strata_heap_find(self.heap, "accounts", &newer_type, &found), STRATA_INVALID_ARGUMENT,
        "bank.account");
  FAILS(strata_heap_find(self.heap, "accounts", &number_type, &found), STRATA_INVALID_ARGUMENT,
        "bank.number");
  FAILS(strata_heap_find(self.heap, "nobody", &account_type, &found), STRATA_NOT_FOUND, "nobody");
  MUST(strata_heap_make(self.heap, "answer", &number_type, NULL, &found));
  CHECK(*(uint64_t*)found == 0);
  *(uint64_t*)found = 42;
  close_bank(&self);
}

static int count_objects(const strata_object_info* object, void* times) {
  CHECK(object->size == sizeof *object && object->name[0] != '\0' && object->bytes > 0);
  ++*(int*)times;
  return 0;
}

static void objects_are_found_by_name_and_type_in_another_process(void) {
  bank self = open_bank();
  strata_object_info info = {.size = sizeof info};
  void* found = NULL;
  uint64_t offset = 0;
  int times = 0;
  must_end_well(start_child(look_at_the_accounts, uri_of(&self)));
  MUST(strata_heap_find(self.heap, "answer", &number_type, &found));
  CHECK(*(uint64_t*)found == 42);
  MUST(strata_heap_find_or_make(self.heap, "answer", &number_type, NULL, &found));
  CHECK(*(uint64_t*)found == 42);
  FAILS(strata_heap_make(self.heap, "answer", &number_type, NULL, NULL), STRATA_ALREADY_EXISTS,
        "answer");
  MUST(strata_heap_stat(self.heap, "answer", &info));
  CHECK(strcmp(info.name, "answer") == 0 && strcmp(info.type, "bank.number") == 0);
  CHECK(info.bytes == 8 && info.align_bytes == 8);
  MUST(strata_heap_offset(self.heap, found, &offset));
  CHECK(offset == info.offset_bytes);
  MUST(strata_heap_list(self.heap, count_objects, &times));
  CHECK(times == 2);
  FAILS(strata_heap_remove(self.heap, "answer", &account_type), STRATA_INVALID_ARGUMENT, "answer");
  MUST(strata_heap_remove(self.heap, "answer", &number_type));
  FAILS(strata_heap_remove(self.heap, "answer", NULL), STRATA_NOT_FOUND, "answer");
  close_bank(&self);
}

static void begin_an_object_and_die(void* uri) {
  bank self = attach_bank(uri);
  strata_draft* draft = NULL;
  void* object = NULL;
  MUST(strata_heap_begin(self.heap, "draft", &number_type, &draft, &object));
  *(uint64_t*)object = 1;
  raise(SIGKILL);
}

static void a_draft_is_seen_whole_or_not_at_all(void) {
  bank self = open_bank();
  strata_draft *draft = NULL, *second = NULL;
  void *object = NULL, *found = NULL;
  must_be_killed(start_child(begin_an_object_and_die, uri_of(&self)));
  MUST(strata_heap_recover(self.heap));
  FAILS(strata_heap_find(self.heap, "draft", &number_type, &found), STRATA_NOT_FOUND, "draft");
  MUST(strata_heap_begin(self.heap, "draft", &number_type, &draft, &object));
  FAILS(strata_heap_begin(self.heap, "second", &number_type, &second, &found),
        STRATA_FAILED_PRECONDITION, "second");
  *(uint64_t*)object = 9;
  MUST(strata_draft_publish(draft));
  FAILS(strata_draft_publish(draft), STRATA_FAILED_PRECONDITION, "published before");
  strata_draft_close(draft);
  MUST(strata_heap_find(self.heap, "draft", &number_type, &found));
  CHECK(found == object && *(uint64_t*)found == 9);
  MUST(strata_heap_begin(self.heap, "second", &number_type, &second, &object));
  strata_draft_close(second);
  FAILS(strata_heap_find(self.heap, "second", &number_type, &found), STRATA_NOT_FOUND, "second");
  close_bank(&self);
}

static void blocks_are_allocated_resolved_and_freed_once(void) {
  bank self = open_bank();
  uint64_t offset = 0, bytes = 0;
  void* address = NULL;
  int64_t on_the_stack = 0;
  MUST(strata_heap_allocate(self.heap, 100, 64, &offset));
  MUST(strata_heap_usable_bytes(self.heap, offset, &bytes));
  CHECK(offset % 64 == 0 && bytes >= 100);
  MUST(strata_heap_address(self.heap, offset, 100, &address));
  memset(address, 1, 100);
  FAILS(strata_heap_address(self.heap, offset, ~(uint64_t)0, &address), STRATA_INVALID_ARGUMENT,
        "offset");
  FAILS(strata_heap_address(self.heap, 0, 1, &address), STRATA_INVALID_ARGUMENT, "offset 0");
  FAILS(strata_heap_offset(self.heap, &on_the_stack, &bytes), STRATA_INVALID_ARGUMENT, "address");
  MUST(strata_heap_free(self.heap, offset));
  FAILS(strata_heap_free(self.heap, offset), STRATA_FAILED_PRECONDITION, "");
  FAILS(strata_heap_free(self.heap, 3), STRATA_INVALID_ARGUMENT, "");
  FAILS(strata_heap_allocate(self.heap, 8, 3, &offset), STRATA_INVALID_ARGUMENT, "");
  FAILS(strata_heap_allocate(self.heap, 64u << 20, 16, &offset), STRATA_EXHAUSTED, "");
  MUST(strata_heap_allocate_to(self.heap, &self.accounts->note, 32, 16));
  CHECK(self.accounts->note != 0);
  FAILS(strata_heap_allocate_to(self.heap, &self.accounts->note, 32, 16), STRATA_INVALID_ARGUMENT,
        "");
  MUST(strata_heap_free_from(self.heap, &self.accounts->note));
  CHECK(self.accounts->note == 0);
  FAILS(strata_heap_allocate_to(self.heap, (uint64_t*)&on_the_stack, 32, 16),
        STRATA_INVALID_ARGUMENT, "not in this heap");
  close_bank(&self);
}

static void a_transaction_happens_at_its_commit_or_not_at_all(void) {
  bank self = open_bank();
  strata_transaction* transaction = begin(&self);
  pay(&self, transaction, 10);
  CHECK(has_paid(&self, 0));
  MUST(strata_transaction_commit(transaction));
  CHECK(has_paid(&self, 10));
  FAILS(strata_transaction_commit(transaction), STRATA_FAILED_PRECONDITION, "ended");
  FAILS(strata_transaction_abort(transaction), STRATA_FAILED_PRECONDITION, "ended");
  FAILS(strata_transaction_free(transaction, 64), STRATA_FAILED_PRECONDITION, "ended");
  strata_transaction_close(transaction);

  transaction = begin(&self);
  pay(&self, transaction, 10);
  MUST(strata_transaction_abort(transaction));
  strata_transaction_close(transaction);
  transaction = begin(&self);
  pay(&self, transaction, 10);
  strata_transaction_close(transaction);
  CHECK(has_paid(&self, 10));
  close_bank(&self);
}

static void an_error_in_the_middle_is_what_commit_returns(void) {
  bank self = open_bank();
  strata_transaction* transaction = begin(&self);
  int64_t on_the_stack = 0;
  uint64_t offset = 0;
  pay(&self, transaction, 10);
  FAILS(strata_transaction_write(transaction, &on_the_stack, &on_the_stack, 8),
        STRATA_INVALID_ARGUMENT, "payload");
  FAILS(strata_transaction_commit(transaction), STRATA_INVALID_ARGUMENT, "payload");
  CHECK(has_paid(&self, 0));
  strata_transaction_close(transaction);
  transaction = begin(&self);
  pay(&self, transaction, 10);
  FAILS(strata_transaction_read(transaction, &on_the_stack, &on_the_stack, 8),
        STRATA_INVALID_ARGUMENT, "payload");
  FAILS(strata_transaction_commit(transaction), STRATA_INVALID_ARGUMENT, "payload");
  strata_transaction_close(transaction);
  transaction = begin(&self);
  FAILS(strata_transaction_allocate(transaction, 1u << 30, 16, &offset), STRATA_EXHAUSTED, "");
  strata_transaction_close(transaction);
  CHECK(has_paid(&self, 0));
  close_bank(&self);
}

static void blocks_and_snapshots_belong_to_the_transaction(void) {
  bank self = open_bank();
  strata_transaction* transaction = begin(&self);
  strata_range range;
  uint64_t offset = 0;
  void* block = NULL;
  MUST(strata_transaction_allocate(transaction, 64, 16, &offset));
  MUST(strata_heap_address(self.heap, offset, 64, &block));
  strcpy(block, "a note");
  MUST(strata_transaction_write(transaction, &self.accounts->note, &offset, sizeof offset));
  range.address = &self.accounts->alice;
  range.bytes = 16;
  MUST(strata_transaction_snapshot(transaction, &range, 1));
  self.accounts->alice = 60;
  self.accounts->bob = 40;
  MUST(strata_transaction_commit(transaction));
  strata_transaction_close(transaction);
  CHECK(has_paid(&self, 40) && self.accounts->note == offset);
  CHECK(strcmp(block, "a note") == 0);

  transaction = begin(&self);
  MUST(strata_transaction_snapshot(transaction, &range, 1));
  self.accounts->alice = 0;
  MUST(strata_transaction_free(transaction, offset));
  FAILS(strata_transaction_free(transaction, offset), STRATA_FAILED_PRECONDITION, "");
  strata_transaction_close(transaction);
  CHECK(has_paid(&self, 40));
  transaction = begin(&self);
  MUST(strata_transaction_free(transaction, offset));
  MUST(strata_transaction_commit(transaction));
  strata_transaction_close(transaction);
  FAILS(strata_heap_free(self.heap, offset), STRATA_FAILED_PRECONDITION, "");
  close_bank(&self);
}

static void pay_and_die(void* uri) {
  bank self = attach_bank(uri);
  strata_transaction* transaction = begin(&self);
  strata_range range;
  uint64_t offset;
  range.address = &self.accounts->note;
  range.bytes = sizeof self.accounts->note;
  MUST(strata_transaction_snapshot(transaction, &range, 1));
  self.accounts->note = 12345;
  MUST(strata_transaction_allocate(transaction, 100, 16, &offset));
  pay(&self, transaction, 10);
  raise(SIGKILL);
}

static void a_process_killed_in_a_transaction_is_recovered_by_the_next_owner_of_its_lock(void) {
  bank self = open_bank();
  strata_transaction* transaction;
  must_be_killed(start_child(pay_and_die, uri_of(&self)));
  transaction = begin(&self);
  CHECK(has_paid(&self, 0) && self.accounts->note == 0);
  pay(&self, transaction, 10);
  MUST(strata_transaction_commit(transaction));
  strata_transaction_close(transaction);
  CHECK(has_paid(&self, 10));
  close_bank(&self);
}

static void pay_one_hundred_times(void* uri) {
  bank self = attach_bank(uri);
  int i;
  for (i = 0; i < 100; ++i) {
    strata_transaction* transaction = begin(&self);
    pay(&self, transaction, 1);
    MUST(strata_transaction_commit(transaction));
    strata_transaction_close(transaction);
  }
  strata_heap_close(self.heap);
}

static void transactions_of_two_processes_take_turns(void) {
  bank self = open_bank();
  const pid_t child = start_child(pay_one_hundred_times, uri_of(&self));
  pay_one_hundred_times(uri_of(&self));
  must_end_well(child);
  CHECK(has_paid(&self, 200));
  close_bank(&self);
}

static void locks_are_waited_for_and_have_to_lie_in_the_heap(void) {
  bank self = open_bank();
  strata_transaction *first = begin(&self), *second = NULL;
  strata_mutex outside;
  strata_mutex* locks[9];
  int i;
  memset(&outside, 0, sizeof outside);
  for (i = 0; i < 9; ++i)
    locks[i] = &self.accounts->lock;
  FAILS(strata_transaction_begin(self.heap, locks, 1, 0, &second), STRATA_TIMED_OUT, "");
  FAILS(strata_transaction_begin(self.heap, locks, 9, 0, &second), STRATA_INVALID_ARGUMENT,
        "lock_count");
  locks[0] = &outside;
  FAILS(strata_transaction_begin(self.heap, locks, 1, 0, &second), STRATA_INVALID_ARGUMENT,
        "payload");
  locks[0] = (strata_mutex*)((char*)&self.accounts->lock + 1);
  FAILS(strata_transaction_begin(self.heap, locks, 1, 0, &second), STRATA_INVALID_ARGUMENT,
        "aligned");
  locks[0] = NULL;
  FAILS(strata_transaction_begin(self.heap, locks, 1, 0, &second), STRATA_INVALID_ARGUMENT,
        "locks");
  /* One that needs no lock does not wait. */
  MUST(strata_transaction_begin(self.heap, NULL, 0, 0, &second));
  MUST(strata_transaction_commit(second));
  strata_transaction_close(second);
  strata_transaction_close(first);
  close_bank(&self);
}

static void the_log_is_made_as_large_as_a_transaction_needs(void) {
  static char large[300 * 1024];
  bank self = open_bank();
  strata_transaction* transaction = NULL;
  uint64_t offset = 0;
  void* place = NULL;
  FAILS(strata_heap_make_transaction_log(self.heap, 4, 5000), STRATA_INVALID_ARGUMENT, "");
  MUST(strata_heap_make_transaction_log(self.heap, 2, 1u << 20));
  FAILS(strata_heap_make_transaction_log(self.heap, 2, 1u << 20), STRATA_ALREADY_EXISTS, "");
  MUST(strata_heap_allocate(self.heap, sizeof large, 16, &offset));
  MUST(strata_heap_address(self.heap, offset, sizeof large, &place));
  memset(large, 7, sizeof large);
  MUST(strata_transaction_begin(self.heap, NULL, 0, SOON_MS, &transaction));
  MUST(strata_transaction_write(transaction, place, large, sizeof large));
  MUST(strata_transaction_commit(transaction));
  CHECK(memcmp(place, large, sizeof large) == 0);
  strata_transaction_close(transaction);
  close_bank(&self);
}

int main(int argc, char** argv) {
  static const test_case cases[] = {
      CASE(objects_are_found_by_name_and_type_in_another_process),
      CASE(a_draft_is_seen_whole_or_not_at_all),
      CASE(blocks_are_allocated_resolved_and_freed_once),
      CASE(a_transaction_happens_at_its_commit_or_not_at_all),
      CASE(an_error_in_the_middle_is_what_commit_returns),
      CASE(blocks_and_snapshots_belong_to_the_transaction),
      CASE(a_process_killed_in_a_transaction_is_recovered_by_the_next_owner_of_its_lock),
      CASE(transactions_of_two_processes_take_turns),
      CASE(locks_are_waited_for_and_have_to_lie_in_the_heap),
      CASE(the_log_is_made_as_large_as_a_transaction_needs),
  };
  return run_cases(argc, argv, cases, CASE_COUNT(cases));
}
