// Primitives in the states in which an earlier program left them; docs/format/sync.md is the text
// of the same contract, and golden_sync.h says what those states are.
#include <string>

#include "tests/catch.h"
#include "tests/format/golden_segment.h"
#include "tests/format/golden_sync.h"

using namespace strata;
using namespace strata::golden;

namespace {

Deadline soon() { return Deadline::after_ms(60'000); }

struct Fixture {
  GoldenSegments segments;
  Segment segment = segments.attach("sync_v1.bin", "golden-sync");
  SyncContext context = segment.sync_context().value();
  std::span<std::byte> bytes = segment.writable_bytes().value();
  SyncWords& words = *reinterpret_cast<SyncWords*>(bytes.data());

  // The lock word at `offset`, in its parts.
  std::uint32_t token_at(std::uint64_t offset) {
    return number_at<std::uint32_t>(bytes, offset) & 0x3fffffff;
  }
  bool is_unrepaired_at(std::uint64_t offset) {
    return number_at<std::uint32_t>(bytes, offset) >> 31 != 0;
  }
  std::uint32_t high_half_at(std::uint64_t offset) {
    return number_at<std::uint32_t>(bytes, offset + 4);
  }
  // Which of the seats it was depends on the thread that took it.
  std::uint32_t seats_of_the_dead(std::uint64_t offset, std::uint32_t count) {
    std::uint32_t held = 0;
    for (std::uint32_t seat = 0; seat < count; ++seat) {
      if (token_at(offset + seat * 8) == kDeadToken && high_half_at(offset + seat * 8) == 1) ++held;
    }
    return held;
  }
  // Who takes a lock that somebody died with is told, repairs, and the next one is not told.
  template <typename Lock>
  void take_from_dead(Lock& lock) {
    REQUIRE(lock.lock(context, soon()).value() == Acquired::owner_died);
    REQUIRE(lock.mark_repaired(context));
    REQUIRE(lock.unlock(context));
    take_clean(lock);
  }
  template <typename Lock>
  void take_clean(Lock& lock) {
    REQUIRE(lock.lock(context, soon()).value() == Acquired::clean);
    REQUIRE(lock.unlock(context));
  }
};

std::string text_of(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

}  // namespace

TEST_CASE_METHOD(Fixture, "tokens_go_on_behind_those_of_the_earlier_program") {
  CHECK(context.token() == kWaiterToken + 1);
}

TEST_CASE_METHOD(Fixture, "a_mutex_says_who_died_with_it") {
  CHECK((token_at(64) == kDeadToken && high_half_at(64) == 1 && !is_unrepaired_at(64)));
  CHECK((token_at(128) == 0 && is_unrepaired_at(128)));
  CHECK(words.held_mutex.report().token == kDeadToken);
  CHECK(words.unrepaired_mutex.report().is_unrepaired);
  take_clean(words.free_mutex);
  take_from_dead(words.held_mutex);
  take_from_dead(words.unrepaired_mutex);
}

TEST_CASE_METHOD(Fixture, "a_mutex_keeps_what_it_counted") {
  CHECK(number_at<std::uint32_t>(bytes, 192 + 20) == 1);
  CHECK(number_at<std::uint64_t>(bytes, 192 + 56) == 1);
  const LockReport report = words.counted_mutex.report();
  CHECK((report.counts_contention && report.owner_deaths == 1 && report.waits == 1));
  take_clean(words.counted_mutex);
}

TEST_CASE_METHOD(Fixture, "sharded_mutexes_are_held_each_for_itself") {
  CHECK(token_at(5760 + 2 * 64) == kDeadToken);
  take_clean(words.shards[0]);
  take_clean(words.shards[3]);
  take_from_dead(words.shards[2]);
}

TEST_CASE_METHOD(Fixture, "an_event_is_set_or_not") {
  CHECK((high_half_at(256) == 1 && number_at<std::uint32_t>(bytes, 256) == 1));
  CHECK(words.event_set.wait(context, soon()));
  CHECK(!words.event_reset.is_set(context));
  CHECK(words.event_reset.check());
  words.event_reset.set(context);
  CHECK(words.event_reset.wait(context, soon()));
}

TEST_CASE_METHOD(Fixture, "a_condition_whose_waiter_died_goes_on") {
  CHECK(number_at<std::uint32_t>(bytes, 448) % 2 == 1);
  words.condition.notify_one();
  words.condition.notify_all();
  take_clean(words.condition_mutex);
}

TEST_CASE_METHOD(Fixture, "a_permit_comes_back_from_the_dead") {
  CHECK(number_at<std::uint32_t>(bytes, 512) == 3);
  CHECK(seats_of_the_dead(512 + 16, Semaphore::kMaxPermits) == 1);
  REQUIRE(words.semaphore.check());
  CHECK(words.semaphore.free_permits(context) == 2);
  int deaths = 0;
  for (int i = 0; i < 3; ++i) {
    if (words.semaphore.acquire(context, soon()).value().how == Acquired::owner_died) ++deaths;
  }
  CHECK(deaths == 1);
}

TEST_CASE_METHOD(Fixture, "a_barrier_goes_on_in_its_phase") {
  CHECK((number_at<std::uint32_t>(bytes, 1024) == 1 && high_half_at(1024) == 1));
  CHECK(number_at<std::uint32_t>(bytes, 1024 + 8) == 2);
  REQUIRE(words.barrier.check());
  const std::uint32_t first = words.barrier.join(context).value();
  const std::uint32_t second = words.barrier.join(context).value();
  const Barrier::Arrival arrival = words.barrier.arrive(context, first).value();
  CHECK(arrival.phase == 1);
  CHECK(words.barrier.arrive_and_wait(context, second, soon()));
  CHECK(words.barrier.wait(context, arrival, soon()));
  CHECK(!words.barrier.join(context));
}

TEST_CASE_METHOD(Fixture, "a_reader_that_died_stops_no_writer") {
  CHECK(seats_of_the_dead(2048 + 128, RwLock::kMaxReaders) == 1);
  CHECK(words.read_lock.readers(context) == 1);
  take_clean(words.read_lock);
}

TEST_CASE_METHOD(Fixture, "readers_wait_for_what_a_dead_writer_left_to_be_repaired") {
  for (RwLock* const lock : {&words.written_lock, &words.unrepaired_lock}) {
    CHECK(lock->lock_shared(context, soon()).error().code() == Code::not_ready);
    take_from_dead(*lock);
    const RwLock::ReadHold hold = lock->lock_shared(context, soon()).value();
    CHECK(lock->unlock_shared(context, hold));
  }
}

TEST_CASE_METHOD(Fixture, "a_cell_is_read_as_written_and_a_torn_one_is_not") {
  CHECK(number_at<std::uint64_t>(bytes, 5120 + 64) == 4);
  CHECK(number_at<std::uint64_t>(bytes, 5120 + 128 + 16) == 3);
  CHECK(words.cell.read(context, soon()).value() == Triple{1, 2, 3});
  CHECK(words.torn_cell.read(context, Deadline::after_ms(0)).error().code() == Code::not_ready);
  const auto change = [](Triple& value) {
    CHECK(value == Triple{});
    value = {7, 8, 9};
  };
  CHECK(words.torn_cell.update(context, change, soon()).value() == Acquired::owner_died);
  CHECK(words.torn_cell.read(context, soon()).value() == Triple{7, 8, 9});
}

TEST_CASE_METHOD(Fixture, "counters_and_cells_keep_their_values") {
  CHECK(number_at<std::int64_t>(bytes, 5504 + 3 * 64) == -4000);
  CHECK(words.counter.total() == 1 + 20 + 300 - 4000);
  CHECK(number_at<std::uint64_t>(bytes, 6016) == 77);
  CHECK(words.versioned.load() == VersionedCell::Snapshot{77, 3});
  CHECK(words.published.consume() == 4242);
}

TEST_CASE_METHOD(Fixture, "a_ring_of_two_gives_again_what_a_dead_consumer_had") {
  CHECK(text_of(bytes.subspan(6144, 4)) == "SPSC");
  CHECK(number_at<std::uint64_t>(bytes, 6144 + 192) == 6);
  CHECK(number_at<std::uint64_t>(bytes, 6144 + 320) == 3);
  SpscConsumer consumer = SpscConsumer::open(words.spsc, context).value();
  CHECK(consumer.predecessor_died());
  for (const char* message : {"spsc 3", "spsc 4", "spsc 5"}) {
    CHECK(text_of(consumer.receive(soon()).value()) == message);
    REQUIRE(consumer.release());
  }
  CHECK(consumer.receive(Deadline::after_ms(0)).error().code() == Code::timed_out);
  SpscProducer producer = SpscProducer::open(words.spsc, context).value();
  CHECK(producer.predecessor_died());
  REQUIRE(producer.send(std::as_bytes(std::span("spsc 6", 6)), soon()));
  CHECK(text_of(consumer.receive(soon()).value()) == "spsc 6");
}

TEST_CASE_METHOD(Fixture, "a_ring_of_many_keeps_messages_of_the_dead_and_takes_slots_back") {
  CHECK(text_of(bytes.subspan(7168, 4)) == "MPMC");
  CHECK(number_at<std::uint64_t>(bytes, 7168 + 64) == 12);  // tail
  CHECK(number_at<std::uint64_t>(bytes, 7168 + 128) == 6);  // head
  MpmcRing ring = MpmcRing::open(words.mpmc, context).value();
  REQUIRE(ring.check());
  for (const char* message :
       {"mpmc 6", "mpmc 7", "mpmc 8", "mpmc 9", "mpmc 10", "mpmc of the dead"}) {
    MpmcRing::Message received = ring.receive(soon()).value();
    CHECK(text_of(received.bytes) == message);
    REQUIRE(ring.release(received));
  }
  CHECK(ring.receive(Deadline::after_ms(0)).error().code() == Code::timed_out);
  CHECK(ring.reclaim() == 2);
  for (std::uint32_t i = 0; i < kMpmcOptions.slots; ++i)
    CHECK(ring.loan(Deadline::after_ms(0)));
}
