// Segments in forked children: they join anew at their first use, whatever their parents had done
// and whatever other threads were doing when they were forked, and hold nothing of their parents'.
#include <atomic>
#include <thread>
#include <vector>

#include "segment/fake_backend.h"
#include "strata/segment/segment.h"
#include "strata/sync/mpmc_ring.h"
#include "strata/sync/robust_mutex.h"
#include "sync/sync_testing.h"
#include "tests/catch.h"

using namespace strata;
using namespace strata::test;

namespace {

Deadline soon() { return Deadline::after_ms(60'000); }

struct Content {
  RobustMutex mutex;
  std::atomic<std::uint32_t> tokens[16];
  std::atomic<std::uint32_t> count;
};

struct Forks {
  Segment create(const std::string& name = "mesh") {
    CreateOptions options;
    options.payload_bytes = 4096;
    return backend.create({"fake", {}, name}, options).value();
  }
  Segment attach(Access access = Access::read_write) {
    return backend.attach({"fake", {}, "mesh"}, {.access = access}).value();
  }
  static Content& in(Segment& segment) {
    return *reinterpret_cast<Content*>(segment.writable_bytes()->data());
  }
  static std::uint32_t tokens_given(const Segment& segment) {
    return header_page_of(segment).live.next_participant.value.load();
  }

  RealOs os;
  FakeBackend backend{os};
};

// Each level joins, counts under the lock, and has a child of its own that does the same.
int go_down(Segment& segment, Content& content, std::uint32_t level, std::uint32_t levels) {
  const auto context = segment.sync_context();
  if (!context || context->token() == 0) return 1;
  content.tokens[level].store(context->token());
  if (!content.mutex.lock(*context, soon())) return 2;
  content.count.store(content.count.load() + 1);
  if (!content.mutex.unlock(*context)) return 3;
  if (level + 1 == levels) return 0;
  return in_child([&] { return go_down(segment, content, level + 1, levels); }) == 0 ? 0 : 4;
}

}  // namespace

TEST_CASE_METHOD(Forks, "a_child_of_a_child_joins_at_its_first_use_at_any_depth") {
  constexpr std::uint32_t kLevels = 6;
  Segment segment = create();
  Content& content = in(segment);
  SECTION("where nobody above has joined") {}
  SECTION("where the first has joined") { REQUIRE(segment.participant()); }
  // Some levels do not use it, and fork.
  const int status = in_child(
      [&] { return in_child([&] { return go_down(segment, content, 0, kLevels); }) == 0 ? 0 : 1; });
  CHECK(status == 0);
  CHECK(content.count == kLevels);
  for (std::uint32_t a = 0; a < kLevels; ++a) {
    for (std::uint32_t b = 0; b < a; ++b)
      CHECK(content.tokens[a] != content.tokens[b]);
  }
}

TEST_CASE_METHOD(Forks, "a_child_does_not_hold_what_its_parent_held_at_the_fork") {
  Segment segment = create();
  Content& content = in(segment);
  const SyncContext parent = segment.sync_context().value();
  REQUIRE(content.mutex.lock(parent, soon()));
  const int status = in_child([&] {
    const auto mine = segment.sync_context();
    if (!mine || content.mutex.is_held_by(*mine)) return 1;
    if (content.mutex.unlock(*mine)) return 2;
    if (content.mutex.try_lock(*mine)) return 3;
    // What it inherited is nobody's.
    if (content.mutex.is_held_by(parent) || content.mutex.unlock(parent)) return 4;
    if (content.mutex.lock(parent, soon())) return 5;
    return 0;
  });
  CHECK(status == 0);
  CHECK(content.mutex.is_held_by(parent));
  CHECK(content.mutex.unlock(parent));
}

TEST_CASE_METHOD(Forks, "a_child_waits_for_what_another_thread_of_its_parent_holds") {
  Segment segment = create();
  Content& content = in(segment);
  const SyncContext parent = segment.sync_context().value();
  std::atomic<bool> holds{false}, may_end{false};
  std::thread holder([&] {
    STRATA_CHECK(content.mutex.lock(parent, soon()).has_value());
    holds = true;
    wait_until([&] { return may_end.load(); });
    STRATA_CHECK(content.mutex.unlock(parent).has_value());
  });
  wait_until([&] { return holds.load(); });
  const pid_t child = start_child([&] {
    const auto mine = segment.sync_context();
    if (!mine) return 1;
    if (content.mutex.try_lock(*mine).error().code() != Code::timed_out) return 2;
    content.count = 1;
    const auto how = content.mutex.lock(*mine, soon());
    return how && *how == Acquired::clean ? 0 : 3;
  });
  wait_until([&] { return content.count == 1; });
  may_end = true;
  CHECK(wait_for(child) == 0);
  holder.join();
}

TEST_CASE_METHOD(Forks, "a_child_joins_also_where_it_was_forked_while_other_threads_joined") {
  constexpr int kChildren = 60;
  Segment segment = create();
  Content& content = in(segment);
  REQUIRE(segment.participant());
  std::atomic<bool> may_end{false};
  std::vector<std::thread> threads;
  for (int i = 0; i < 2; ++i) {
    threads.emplace_back([&] {
      while (!may_end) {
        Segment fresh = attach();
        STRATA_CHECK(fresh.participant().has_value());
      }
    });
  }
  for (int i = 0; i < kChildren; ++i) {
    CHECK(in_child([&] { return go_down(segment, content, 0, 2); }) == 0);
  }
  may_end = true;
  for (std::thread& thread : threads)
    thread.join();
  CHECK(content.count == 2 * kChildren);
}

TEST_CASE_METHOD(Forks, "threads_that_join_at_once_are_one_participant") {
  for (int round = 0; round < 20; ++round) {
    Segment segment = create("mesh" + std::to_string(round));
    std::atomic<std::uint32_t> tokens[4]{};
    std::vector<std::thread> threads;
    for (auto& token : tokens)
      threads.emplace_back([&] { token = segment.participant().value()->token(); });
    for (std::thread& thread : threads)
      thread.join();
    for (const auto& token : tokens)
      CHECK(token == tokens[0]);
  }
}

TEST_CASE_METHOD(Forks, "who_attaches_and_locks_nothing_does_not_join") {
  Segment segment = create();
  const std::uint32_t before = tokens_given(segment);
  for (const Access access : {Access::read_write, Access::read_only}) {
    { const Segment other = attach(access); }
    CHECK(in_child([&] { return attach(access).host_bytes()->size() == 4096 ? 0 : 1; }) == 0);
  }
  CHECK(tokens_given(segment) == before);
  REQUIRE(attach().sync_context());
  CHECK(tokens_given(segment) == before + 1);
}

TEST_CASE_METHOD(Forks, "a_killed_parent_leaves_its_lock_though_a_child_that_never_locked_lives") {
  Segment segment = create();
  Content& content = in(segment);
  const pid_t parent = start_child([&] {
    const auto mine = segment.sync_context();
    if (!mine || !content.mutex.lock(*mine, soon())) return 1;
    // It uses the segment, which it inherits, and joins nothing.
    const pid_t idle = start_child([&] {
      content.count = static_cast<std::uint32_t>(getpid());
      for (;;)
        pause();
    });
    wait_for(idle);
    return 2;
  });
  wait_until([&] { return content.count != 0; });
  kill_child(parent);
  const SyncContext me = segment.sync_context().value();
  CHECK(content.mutex.lock(me, soon()).value() == Acquired::owner_died);
  const auto idle = static_cast<pid_t>(content.count);
  CHECK(kill(idle, 0) == 0);
  kill(idle, SIGKILL);
}

TEST_CASE_METHOD(Forks, "a_child_gets_no_slot_of_a_ring_that_its_parent_opened") {
  Segment segment = create();
  const std::span<std::byte> bytes = segment.writable_bytes().value();
  REQUIRE(format_mpmc_ring(bytes, {.slots = 8, .message_bytes = 16}));
  MpmcRing ring = MpmcRing::open(bytes, segment.sync_context().value()).value();
  REQUIRE(ring.send({}, soon()));
  const int status = in_child([&] {
    if (ring.loan(soon()).error().code() != Code::failed_precondition) return 1;
    if (ring.receive(soon()).error().code() != Code::failed_precondition) return 2;
    auto mine = MpmcRing::open(bytes, segment.sync_context().value());
    return mine && mine->receive(soon()) && mine->send({}, soon()) ? 0 : 3;
  });
  CHECK(status == 0);
  CHECK(ring.receive(Deadline::now()));
  CHECK(ring.check());
}

TEST_CASE_METHOD(Forks, "a_child_that_is_killed_with_a_lock_leaves_it_to_its_parent") {
  Segment segment = create();
  Content& content = in(segment);
  const SyncContext parent = segment.sync_context().value();
  const int status = in_child([&] {
    const auto mine = segment.sync_context();
    if (!mine || !content.mutex.lock(*mine, soon())) return 1;
    die();
    return 2;
  });
  REQUIRE(was_killed(status));
  CHECK(content.mutex.try_lock(parent).value() == Acquired::owner_died);
}
