#include "strata/sync/event.h"

#include "strata/sync/condition.h"
#include "sync/sync_testing.h"
#include "tests/catch.h"

using namespace strata;
using namespace strata::test;

namespace {

Deadline soon() { return Deadline::after_ms(60'000); }

}  // namespace

TEST_CASE("an_event_wakes_another_process_which_sees_what_was_written_before") {
  struct State {
    Event event;
    int data = 0;
  };
  const LockFile file;
  const Party us(file, 1);
  const Shared<State> state;
  const pid_t child = start_child([&] {
    const Party me(file, 2);
    if (!state->event.wait(me.context, soon())) _exit(1);
    _exit(state->data == 42 ? 0 : 2);
  });
  state->data = 42;
  state->event.set(us.context);
  CHECK(wait_for(child) == 0);
}

TEST_CASE("an_event_stays_set_until_it_is_reset") {
  const LockFile file;
  const Party us(file, 1);
  Event event;
  CHECK_FALSE(event.is_set(us.context));
  event.set(us.context);
  CHECK(event.wait(us.context, Deadline::after_ms(0)));
  CHECK(event.wait(us.context, Deadline::after_ms(0)));
  event.reset(us.context);
  CHECK(event.wait(us.context, Deadline::after_ms(2)).error().code() == Code::timed_out);
}

TEST_CASE("resetting_an_event_that_is_not_set_keeps_its_sleepers") {
  const LockFile file;
  const Party us(file, 1);
  const Shared<Event> event;
  const pid_t child = start_child([&] {
    const Party me(file, 2);
    if (!event->wait(me.context, soon())) _exit(1);
  });
  usleep(5000);
  event->reset(us.context);
  event->set(us.context);
  CHECK(wait_for(child) == 0);
}

TEST_CASE("an_event_of_another_generation_is_not_set") {
  const LockFile file;
  const Party before(file, 1, 1), after(file, 2, 2);
  Event event;
  event.set(before.context);
  CHECK_FALSE(event.is_set(after.context));
  CHECK(event.wait(after.context, Deadline::after_ms(1)).error().code() == Code::timed_out);
}

TEST_CASE("an_impossible_event_is_corrupt") {
  const LockFile file;
  const Party us(file, 1);
  Event event;
  *reinterpret_cast<std::uint64_t*>(&event) = us.context.generation_bits() | 3;
  CHECK(event.wait(us.context, soon()).error().code() == Code::corrupt);
  CHECK(event.check().error().code() == Code::corrupt);
}

TEST_CASE("a_killed_waiter_leaves_an_event_usable") {
  const LockFile file;
  const Party us(file, 1);
  const Shared<Event> event;
  const pid_t child = start_child([&] {
    const Party me(file, 2);
    (void)event->wait(me.context, soon());
  });
  usleep(5000);
  kill_child(child);
  event->set(us.context);
  CHECK(event->wait(us.context, soon()));
}

namespace {

struct Box {
  RobustMutex mutex;
  Condition filled;
  int items = 0;
};

// Takes one item out of the box; 0 where it could.
int take_item(Box& box, const Party& me) {
  if (!box.mutex.lock(me.context, soon())) return 1;
  while (box.items == 0) {
    const auto woken = box.filled.wait(me.context, box.mutex, soon());
    if (!woken) return 2;
    if (woken->wake == Wake::timed_out) return 3;
    if (woken->mutex == Acquired::owner_died && !box.mutex.mark_repaired(me.context)) return 4;
  }
  --box.items;
  return box.mutex.unlock(me.context) ? 0 : 5;
}

void put_item(Box& box, const Party& me) {
  REQUIRE(box.mutex.lock(me.context, soon()));
  ++box.items;
  REQUIRE(box.mutex.unlock(me.context));
  box.filled.notify_one();
}

}  // namespace

TEST_CASE("a_condition_hands_items_over") {
  const LockFile file;
  const Party us(file, 1);
  const Shared<Box> box;
  std::vector<pid_t> children;
  for (std::uint32_t i = 0; i < 3; ++i)
    children.push_back(start_child([&] { _exit(take_item(*box, Party(file, 2 + i))); }));
  for (int i = 0; i < 3; ++i)
    put_item(*box, us);
  for (const pid_t child : children)
    CHECK(wait_for(child) == 0);
  CHECK(box->items == 0);
}

TEST_CASE("a_condition_holds_the_mutex_again_after_its_deadline") {
  const LockFile file;
  const Party us(file, 1);
  Box box;
  REQUIRE(box.mutex.lock(us.context, soon()));
  const auto outcome = box.filled.wait(us.context, box.mutex, Deadline::after_ms(3));
  REQUIRE(outcome);
  CHECK(outcome->wake == Wake::timed_out);
  CHECK(box.mutex.is_held_by(us.context));
}

TEST_CASE("a_condition_refuses_a_mutex_that_is_not_held") {
  const LockFile file;
  const Party us(file, 1);
  Box box;
  const auto outcome = box.filled.wait(us.context, box.mutex, soon());
  REQUIRE(!outcome);
  CHECK(outcome.error().code() == Code::failed_precondition);
}

TEST_CASE("a_waiter_killed_in_its_sleep_does_not_keep_items_from_the_others") {
  const LockFile file;
  const Party us(file, 1);
  const Shared<Box> box;
  const pid_t doomed = start_child([&] { _exit(take_item(*box, Party(file, 2))); });
  const pid_t other = start_child([&] { _exit(take_item(*box, Party(file, 3))); });
  usleep(10'000);
  kill(doomed, SIGSTOP);  // it may be given the wake-up, and then die with it
  put_item(*box, us);
  kill_child(doomed);
  CHECK(wait_for(other) == 0);
}

TEST_CASE("a_holder_killed_while_others_wait_for_a_condition_is_reported_to_them") {
  const LockFile file;
  const Shared<Box> box;
  const pid_t waiter = start_child([&] {
    const Party me(file, 2);
    if (!box->mutex.lock(me.context, soon())) _exit(1);
    box->items = -1;  // "I wait now"
    const auto outcome = box->filled.wait(me.context, box->mutex, soon());
    _exit(outcome && outcome->mutex == Acquired::owner_died ? 0 : 2);
  });
  wait_until([&] { return box->items == -1; });
  const int status = in_child([&] {
    const Party me(file, 3);
    if (!box->mutex.lock(me.context, soon())) _exit(1);
    box->filled.notify_one();
    die();
  });
  CHECK(was_killed(status));
  CHECK(wait_for(waiter) == 0);
}

TEST_CASE("a_ticket_taken_with_the_mutex_misses_no_notification") {
  const LockFile file;
  const Party us(file, 1);
  Box box;
  REQUIRE(box.mutex.lock(us.context, soon()));
  const std::uint32_t ticket = box.filled.ticket();
  REQUIRE(box.mutex.unlock(us.context));
  CHECK(box.filled.sleep(ticket, Deadline::after_ms(1)) == Wake::timed_out);
  CHECK_FALSE(box.filled.has_woken_since(ticket));
  // Between two sleeps.
  box.filled.notify_one();
  CHECK(box.filled.has_woken_since(ticket));
  CHECK(box.filled.sleep(ticket, soon()) == Wake::notified);
  CHECK(box.filled.sleep(ticket, Deadline::after_ms(0)) == Wake::notified);
}
