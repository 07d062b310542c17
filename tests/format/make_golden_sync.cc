// The states of golden_sync.h, brought about by processes that hold things and are killed.
#include <cstring>
#include <string>

#include "base/check.h"
#include "os/os.h"
#include "tests/child.h"
#include "tests/format/golden_sync.h"
#include "tests/format/make_golden.h"

namespace strata::inline v0_1::golden {
namespace {

constexpr const char* kUri = "shm:golden-sync";

Deadline soon() { return Deadline::after_ms(60'000); }

// One process: its attachment, and what it is in the segment.
struct Process {
  explicit Process(Segment attached)
      : segment(std::move(attached)), context(segment.sync_context().value()) {}
  SyncWords& words() {
    return *reinterpret_cast<SyncWords*>(segment.writable_bytes().value().data());
  }
  Segment segment;
  SyncContext context;
};

std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span(text));
}

// Sends the messages `from` to `to` of a ring.
template <typename Sender>
void send_all(Sender& sender, const std::string& ring, int from, int to) {
  for (int i = from; i <= to; ++i)
    STRATA_CHECK(sender.send(bytes_of(ring + " " + std::to_string(i)), soon()));
}

void receive_three(Process& us) {
  SpscConsumer consumer = SpscConsumer::open(us.words().spsc, us.context).value();
  for (int i = 0; i < 3; ++i) {
    STRATA_CHECK(consumer.receive(soon()));
    STRATA_CHECK(consumer.release());
  }
}

// Around the end: sent, received, sent.
void fill_rings(Process& us) {
  SyncWords& words = us.words();
  STRATA_CHECK(spsc_ring_bytes(kSpscOptions).value() <= words.spsc.size());
  STRATA_CHECK(mpmc_ring_bytes(kMpmcOptions).value() <= words.mpmc.size());
  STRATA_CHECK(format_spsc_ring(words.spsc, kSpscOptions));
  STRATA_CHECK(format_mpmc_ring(words.mpmc, kMpmcOptions));
  {
    SpscProducer producer = SpscProducer::open(words.spsc, us.context).value();
    send_all(producer, "spsc", 0, 3);
    receive_three(us);
    send_all(producer, "spsc", 4, 5);
  }
  MpmcRing ring = MpmcRing::open(words.mpmc, us.context).value();
  send_all(ring, "mpmc", 0, 6);
  for (int i = 0; i < 5; ++i) {
    MpmcRing::Message message = ring.receive(soon()).value();
    STRATA_CHECK(ring.release(message));
  }
  send_all(ring, "mpmc", 7, 10);
}

void make_values(Process& us) {
  SyncWords& words = us.words();
  words.event_set.set(us.context);
  words.event_reset.set(us.context);
  words.event_reset.reset(us.context);
  STRATA_CHECK(words.cell.write(us.context, {9, 9, 9}, soon()));
  STRATA_CHECK(words.cell.write(us.context, {1, 2, 3}, soon()));
  STRATA_CHECK(words.torn_cell.write(us.context, {4, 5, 6}, soon()));
  words.counter.add_to(0, 1);
  words.counter.add_to(1, 20);
  words.counter.add_to(2, 300);
  words.counter.add_to(3, -4000);
  for (const std::uint64_t value : {75, 76, 77}) {
    VersionedCell::Snapshot seen = words.versioned.load();
    STRATA_CHECK(words.versioned.compare_exchange(seen, value));
  }
  words.published.publish(4242);
}

void hold_much_and_die() {
  RealOs os;
  Catalog catalog = make_catalog(os);
  Process me(catalog.attach(kUri).value());
  STRATA_CHECK(me.context.token() == kDeadToken);
  SyncWords& words = me.words();
  words.counted_mutex.count_contention();
  for (RobustMutex* const mutex :
       {&words.held_mutex, &words.unrepaired_mutex, &words.counted_mutex, &words.shards[2]})
    STRATA_CHECK(mutex->lock(me.context, soon()));
  STRATA_CHECK(words.semaphore.acquire(me.context, soon()));
  const std::uint32_t seat = words.barrier.join(me.context).value();
  STRATA_CHECK(words.barrier.arrive(me.context, seat));
  STRATA_CHECK(words.read_lock.lock_shared(me.context, soon()));
  STRATA_CHECK(words.written_lock.lock(me.context, soon()));
  STRATA_CHECK(words.unrepaired_lock.lock(me.context, soon()));
  STRATA_CHECK(words.torn_cell.lock().begin_write(me.context, soon()));

  SpscConsumer consumer = SpscConsumer::open(words.spsc, me.context).value();
  STRATA_CHECK(consumer.receive(soon()));
  SpscProducer producer = SpscProducer::open(words.spsc, me.context).value();
  std::memset(producer.loan(soon()).value().data(), 'x', kSpscOptions.message_bytes);

  MpmcRing ring = MpmcRing::open(words.mpmc, me.context).value();
  STRATA_CHECK(ring.receive(soon()));
  STRATA_CHECK(ring.send(bytes_of("mpmc of the dead"), soon()));
  STRATA_CHECK(ring.loan(soon()));
  raise(SIGKILL);
}

// Takes what the dead one held, repairs one of the mutexes, and leaves.
void inherit() {
  RealOs os;
  Catalog catalog = make_catalog(os);
  Process me(catalog.attach(kUri).value());
  STRATA_CHECK(me.context.token() == kHeirToken);
  SyncWords& words = me.words();
  STRATA_CHECK(words.unrepaired_mutex.lock(me.context, soon()).value() == Acquired::owner_died);
  STRATA_CHECK(words.unrepaired_mutex.unlock(me.context));
  STRATA_CHECK(words.unrepaired_lock.lock(me.context, soon()).value() == Acquired::owner_died);
  STRATA_CHECK(words.unrepaired_lock.unlock(me.context));
  STRATA_CHECK(words.counted_mutex.lock(me.context, soon()).value() == Acquired::owner_died);
  STRATA_CHECK(words.counted_mutex.mark_repaired(me.context));
  STRATA_CHECK(words.counted_mutex.unlock(me.context));
}

void wait_for_ever() {
  RealOs os;
  Catalog catalog = make_catalog(os);
  Process me(catalog.attach(kUri).value());
  STRATA_CHECK(me.context.token() == kWaiterToken);
  STRATA_CHECK(me.words().condition_mutex.lock(me.context, soon()));
  (void)me.words().condition.wait(me.context, me.words().condition_mutex, soon());
}

}  // namespace

void make_sync_file(Catalog& catalog, const std::string& folder) {
  Process us(catalog.create(kUri, {.payload_bytes = sizeof(SyncWords)}).value());
  STRATA_CHECK(us.context.token() == kMakerToken);
  SyncWords& words = *::new (us.segment.writable_bytes().value().data()) SyncWords;
  make_values(us);
  fill_rings(us);
  STRATA_CHECK(test::was_killed(test::in_child(hold_much_and_die)));
  // The dead one has arrived: with this the phase is complete.
  const std::uint32_t seat = words.barrier.join(us.context).value();
  STRATA_CHECK(words.barrier.arrive_and_wait(us.context, seat, soon()));
  STRATA_CHECK(words.barrier.leave(us.context, seat));
  STRATA_CHECK(test::in_child(inherit) == 0);
  const pid_t waiter = test::start_child(wait_for_ever);
  const auto* const sleepers = reinterpret_cast<const std::uint32_t*>(&words.condition);
  // It marks the condition first, and gives the mutex back after that.
  const auto sleeps = [&] {
    return (__atomic_load_n(sleepers, __ATOMIC_SEQ_CST) & 1) != 0 &&
           words.condition_mutex.report().token == 0;
  };
  for (const Deadline deadline = soon(); !sleeps();)
    STRATA_CHECK(!deadline.expired());
  test::kill_child(waiter);
  keep_segment("golden-sync", folder + "/sync_v1.bin");
  STRATA_CHECK(catalog.remove(kUri, {.even_if_attached = true}));
}

}  // namespace strata::inline v0_1::golden
