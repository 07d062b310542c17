// Another process overwrites words of the log while transactions run. What they get may be errors;
// it is never a signal, a wait without end, or a store outside the payload.
#include <unistd.h>

#include <cstdio>
#include <optional>
#include <random>

#include "strata/segment/durability.h"
#include "tests/catch.h"
#include "tests/child.h"
#include "tests/verified.h"
#include "transaction/transaction_check.h"
#include "transaction/transaction_testing.h"

using namespace strata;
using namespace strata::test;

namespace {

constexpr TransactionLogOptions kOptions = {.slot_count = 4, .slot_bytes = KiB(8)};
// As far as a wild 32-bit offset leads in both directions.
constexpr std::uint64_t kGuardBytes = GiB(8);

// A shared payload in the middle of address space that nobody may touch.
class GuardedBytes {
 public:
  explicit GuardedBytes(std::uint64_t bytes) : bytes_(align_up(bytes, kPageBytes)) {
    area_ = mmap(nullptr, 2 * kGuardBytes + bytes_, PROT_NONE,
                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    STRATA_CHECK(area_ != MAP_FAILED);
    at_ = static_cast<std::byte*>(area_) + kGuardBytes;
    void* const payload =
        mmap(at_, bytes_, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    STRATA_CHECK(payload == at_);
  }
  ~GuardedBytes() { munmap(area_, 2 * kGuardBytes + bytes_); }
  GuardedBytes(const GuardedBytes&) = delete;
  GuardedBytes& operator=(const GuardedBytes&) = delete;
  std::span<std::byte> span() const { return {at_, bytes_}; }

 private:
  void* area_;
  std::byte* at_;
  std::uint64_t bytes_;
};

// Durable as far as the log knows. A flush of bytes that are not there is a crash.
class TouchingDurability final : public Durability {
 public:
  explicit TouchingDurability(std::size_t granularity_bytes = kCacheLineBytes)
      : granularity_bytes_(granularity_bytes) {}
  bool is_volatile() const override { return false; }
  std::size_t granularity_bytes() const override { return granularity_bytes_; }
  void flush(const void* address, std::size_t bytes) override {
    const auto* const at = static_cast<const volatile std::byte*>(address);
    for (std::size_t i = 0; i < bytes; i += kCacheLineBytes)
      (void)at[i];
    if (bytes != 0) (void)at[bytes - 1];
  }

 private:
  std::size_t granularity_bytes_;
};

// All that a transaction can do, on memory that the hostile process leaves alone.
Result<void> work(Transaction& tx, TestPayload& data, unsigned i) {
  STRATA_TRY(tx.write(data.cells[i % 64], tx.read(data.cells[i % 64]) + 1));
  STRATA_TRY(tx.snapshot(data.large));
  data.large[i % data.large.size()] = i;
  STRATA_ASSIGN(const Offset<std::byte> block, tx.allocate(64, 8));
  STRATA_TRY(tx.free(block));
  if (i % 4 == 0) return fail(Code::failed_precondition, "undo it");
  return {};
}

void use_log(TestProcess& process, unsigned rounds) {
  for (unsigned i = 0; i < rounds; ++i) {
    (void)transact(process.log(), process.lock(static_cast<int>(i % 4)),
                   [&](Transaction& tx) { return work(tx, process.data(), i); });
    if (i % 8 == 0) (void)process.log().checkpoint();
    if (i % 16 == 0) (void)process.log().recover_dead();
    (void)process.log().report();
  }
}

// Each word for a moment, so that the victims meet it everywhere: some words are sticky, others
// are written anew at each transaction.
void scribble(std::span<std::byte> log, std::mt19937& random, unsigned words) {
  const std::uint32_t values[] = {
      0, 1, 63, 0x100000, 0x7fffffff, 0x80000000, 0xffffffff, static_cast<std::uint32_t>(random())};
  auto* const at = reinterpret_cast<std::atomic<std::uint32_t>*>(log.data());
  for (unsigned i = 0; i < words; ++i) {
    std::atomic<std::uint32_t>& word = at[random() % (log.size() / 4)];
    const std::uint32_t before = word.load();
    word.store(values[random() % std::size(values)]);
    usleep(random() % 50);  // long enough to be met
    // Not the whole run with the first lock that is broken.
    if (random() % 8 != 0) word.store(before);
  }
}

unsigned seed_for(unsigned round) {
  static const unsigned base = [] {
    const char* given = std::getenv("STRATA_SEED");
    const unsigned seed =
        given ? static_cast<unsigned>(std::strtoul(given, nullptr, 10)) : std::random_device{}();
    std::printf("STRATA_SEED=%u\n", seed);
    return seed;
  }();
  return base + round;
}

// Runs victims beside one that scribbles over the first `reach_bytes` of the log.
void check_scribbled(Durability& durability, std::uint64_t reach_bytes, unsigned round) {
  const GuardedBytes memory(test_payload_bytes(kOptions));
  REQUIRE(TransactionLog::format(memory.span(), kTestLogAt, kOptions, durability));
  const LockFile file;
  const auto victim = [&](std::uint32_t token) {
    for (unsigned tries = 0; tries < 8; ++tries) {
      TestProcess process(file, memory.span(), token, durability);
      if (process.open()) use_log(process, 64);
      (void)check_transaction_log(memory.span(), kTestLogAt);
    }
  };
  const pid_t hostile = start_child([&] {
    std::mt19937 random(seed_for(round));
    while (true)
      scribble(memory.span().subspan(kTestLogAt, reach_bytes), random, 1000);
  });
  const pid_t first = start_child([&] { victim(1); });
  const pid_t second = start_child([&] { victim(2); });
  const int first_status = wait_for(first), second_status = wait_for(second);
  kill_child(hostile);
  INFO("seed " << seed_for(round));
  CHECK(first_status == 0);
  CHECK(second_status == 0);
}

std::uint64_t live_bytes() { return slot_buffers_at(kOptions.slot_count); }

// One process that has a log open, and the log's own words.
struct World {
  explicit World(Durability& durability) : memory(test_payload_bytes(kOptions)) {
    REQUIRE(TransactionLog::format(memory.span(), kTestLogAt, kOptions, durability));
    process.emplace(file, memory.span(), 1, durability);
    REQUIRE(process->open());
  }
  LogHeader& header() { return *reinterpret_cast<LogHeader*>(memory.span().data() + kTestLogAt); }
  SlotHead* heads() {
    return reinterpret_cast<SlotHead*>(memory.span().data() + kTestLogAt +
                                       slot_heads_at(kOptions.slot_count));
  }

  GuardedBytes memory;
  LockFile file;
  std::optional<TestProcess> process;
};

}  // namespace

TEST_CASE("a_slot_count_that_grows_after_the_check_leads_nowhere") {
  TouchingDurability durability;
  World world(durability);
  world.header().identity.slot_count = 0x100000;
  world.header().identity.slot_bytes = GiB(64);
  use_log(*world.process, 64);
  CHECK(world.process->log().report().slots == kOptions.slot_count);
  // Whoever opens it now is told.
  TestProcess late(world.file, world.memory.span(), 2, durability);
  CHECK(late.open().error().code() == Code::corrupt);
  CHECK(check_transaction_log(world.memory.span(), kTestLogAt).findings.size() == 1);
}

TEST_CASE("words_of_a_dead_transaction_that_lead_out_of_its_buffer_are_refused") {
  TouchingDurability lines, pages(kPageBytes);
  for (Durability* durability : {static_cast<Durability*>(&lines), static_cast<Durability*>(&pages),
                                 &volatile_durability()}) {
    for (const SlotState state :
         {SlotState::active, SlotState::committed, SlotState::releasing, SlotState::undone}) {
      World world(*durability);
      SlotHead& head = *world.heads();
      const auto relaxed = std::memory_order_relaxed;
      // Begins far behind the buffer, so that its end minus its start wraps around.
      head.owner.store(world.process->context().generation_bits() | 77, relaxed);
      head.state.store(static_cast<std::uint32_t>(state), relaxed);
      head.first_bytes.store(~std::uint64_t{0} - 16, relaxed);
      head.extent.store(Extent{0xffffff00, 0}.word(), relaxed);
      const auto recovered = world.process->log().recover_dead();
      REQUIRE_FALSE(recovered);
      CHECK(recovered.error().code() == Code::corrupt);
    }
  }
}

TEST_CASE("a_slot_that_says_it_is_filled_beyond_its_end_takes_no_transaction") {
  TouchingDurability durability;
  World world(durability);
  for (std::uint32_t i = 0; i < kOptions.slot_count; ++i) {
    SlotHead& head = world.heads()[i];
    head.extent.store(Extent{0x40000000, 0}.word(), std::memory_order_relaxed);
    // Not to be forgotten.
    head.last_sequence.store(~std::uint64_t{0}, std::memory_order_relaxed);
  }
  TestProcess& process = *world.process;
  const auto done = transact(process.log(), process.lock(0),
                             [&](Transaction& tx) { return tx.write(process.data().cells[0], 1); });
  REQUIRE_FALSE(done);
  CHECK(done.error().code() == Code::corrupt);
  CHECK(process.data().cells[0] == 0);
}

TEST_CASE("transactions_survive_a_process_that_overwrites_words_of_their_log") {
  TouchingDurability lines, pages(kPageBytes);
  unsigned round = 0;
  for (Durability* durability : {static_cast<Durability*>(&lines), static_cast<Durability*>(&pages),
                                 &volatile_durability()}) {
    check_scribbled(*durability, sizeof(LogIdentity), ++round);
    check_scribbled(*durability, live_bytes(), ++round);
    check_scribbled(*durability, kOptions.log_bytes(), ++round);
  }
  report_verified(round, "logs overwritten while they were used");
}
