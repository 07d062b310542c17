// The bank once more, on the library: a segment of a pool that three processes change together
// through shared transactions, while a fourth publishes new versions of another segment.
//
// usage: shared_bank_program create PATH LABEL SEED
//        shared_bank_program recover PATH LABEL
//        shared_bank_program run PATH LABEL none|early_acknowledgement
//
// The same words to the host as bank_main.cc. The publisher counts as process 3.
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "heap/transaction.h"
#include "os/os.h"
#include "pmem/backend.h"
#include "pmem/pool.h"
#include "sync/context.h"
#include "tests/vm/transfers.h"

namespace strata::test {
namespace {

constexpr std::uint64_t kPoolBytes = MiB(32);
constexpr std::uint64_t kVersionBytes = KiB(64);
constexpr int kGroups = 8;  // of accounts, each with a lock
constexpr int kTransfersPerCheckpoint = 97;
// Emulated CPUs on a busy machine: what takes a millisecond elsewhere may take seconds.
constexpr std::uint64_t kTimeoutMs = 60'000;

// The payload; the log follows at the next page.
struct SharedBank {
  std::uint64_t seed;
  std::array<std::uint8_t, 56> reserved;
  std::array<RobustMutex, kGroups + kBankProcesses> locks;  // the last ones: of `done`
  std::array<std::uint64_t, kBankProcesses> done;
  std::array<std::int64_t, kAccounts> balances;
};
constexpr std::uint64_t kLogOffset = (sizeof(SharedBank) + 4095) / 4096 * 4096;

// A bank without an allocator: transactions here change values only.
class NoBlocks final : public BlockActions {
 public:
  explicit NoBlocks(std::span<std::byte> payload) : payload_(payload) {}
  std::span<std::byte> payload() override { return payload_; }
  Result<std::uint64_t> reserve(std::uint64_t, std::uint64_t) override { return none(); }
  void cancel(std::uint64_t) override {}
  Result<BlockState> state(std::uint64_t) override { return none(); }
  Result<std::uint64_t> usable_bytes(std::uint64_t) override { return none(); }
  Result<bool> change(std::uint64_t, BlockState, BlockState) override { return none(); }
  std::span<const std::byte> state_bytes(std::uint64_t) override { return {}; }
  Result<void> release_leftovers() override { return {}; }

 private:
  static Unexpected none() { return fail(Code::invalid_argument, "no blocks here"); }
  std::span<std::byte> payload_;
};

// The bank as one process has it open.
class OpenBank {
 public:
  static Result<std::unique_ptr<OpenBank>> open(const std::string& path) {
    auto bank = std::unique_ptr<OpenBank>(new OpenBank(path));
    STRATA_ASSIGN(Segment segment,
                  bank->backend_.attach({"pmem", path, "bank"}, {.timeout_ms = kTimeoutMs}));
    bank->segment_ = std::make_unique<Segment>(std::move(segment));
    STRATA_ASSIGN(Participant* const self, bank->segment_->participant());
    bank->context_ =
        std::make_unique<SyncContext>(bank->os_, *self, bank->segment_->generation().load());
    STRATA_ASSIGN(const std::span<std::byte> payload, bank->segment_->writable_bytes());
    bank->blocks_ = std::make_unique<NoBlocks>(payload);
    STRATA_ASSIGN(bank->log_, TransactionLog::open({.log_offset = kLogOffset,
                                                    .blocks = *bank->blocks_,
                                                    .durability = bank->segment_->durability(),
                                                    .context = *bank->context_}));
    return bank;
  }

  SharedBank& data() { return *reinterpret_cast<SharedBank*>(blocks_->payload().data()); }
  TransactionLog& log() { return *log_; }
  std::size_t granularity_bytes() { return segment_->durability().granularity_bytes(); }

 private:
  explicit OpenBank(const std::string& path) : backend_(os_, {.pools = {path}}) {}

  RealOs os_;
  PmemBackend backend_;
  std::unique_ptr<Segment> segment_;
  std::unique_ptr<SyncContext> context_;
  std::unique_ptr<NoBlocks> blocks_;
  std::unique_ptr<TransactionLog> log_;
};

Result<void> create(const std::string& path, std::uint64_t seed) {
  RealOs os;
  STRATA_ASSIGN(const Pool pool, Pool::create(os, path, {.bytes = kPoolBytes}));
  PmemBackend backend(os, {.pools = {path}});
  const TransactionLogOptions log;
  CreateOptions options;
  options.payload_bytes = kLogOffset + log.log_bytes();
  STRATA_ASSIGN(Segment segment, backend.create({"pmem", path, "bank"}, options));
  STRATA_ASSIGN(const std::span<std::byte> payload, segment.writable_bytes());
  auto& bank = *reinterpret_cast<SharedBank*>(payload.data());
  bank.seed = seed;
  bank.balances.fill(kOpeningBalance);
  STRATA_TRY(segment.durability().persist(payload.data(), kLogOffset));
  return TransactionLog::format(payload, kLogOffset, log, segment.durability());
}

// The number of the current version, whose every word must be that number. 0: none yet.
Result<std::uint64_t> current_version(const std::string& path) {
  RealOs os;
  PmemBackend backend(os, {.pools = {path}});
  const auto segment = backend.attach({"pmem", path, "version"},
                                      {.access = Access::read_only, .timeout_ms = kTimeoutMs});
  if (!segment && segment.error().code() == Code::not_found) return 0;
  if (!segment) return unexpected(segment.error());
  STRATA_ASSIGN(const std::span<const std::byte> bytes, segment->host_bytes());
  const auto* words = reinterpret_cast<const std::uint64_t*>(bytes.data());
  const std::uint64_t count = bytes.size() / sizeof(std::uint64_t);
  for (std::uint64_t i = 1; i < count; ++i) {
    if (words[i] != words[0]) return fail(Code::corrupt, "a version is torn");
  }
  return words[0];
}

Result<void> publish_version(const Pool& pool, std::uint64_t number) {
  STRATA_ASSIGN(StagedSegment staged, pool.stage({.name = "version",
                                                  .payload_bytes = kVersionBytes,
                                                  .zeroed = false,
                                                  .deadline = Deadline::after_ms(kTimeoutMs)}));
  const std::span<std::byte> payload = staged.payload();
  auto* words = reinterpret_cast<std::uint64_t*>(payload.data());
  std::fill_n(words, payload.size() / sizeof(std::uint64_t), number);
  STRATA_TRY(staged.durability().persist(payload.data(), payload.size()));
  return pool.publish_one(std::move(staged), Deadline::after_ms(kTimeoutMs));
}

Result<void> publish_until_power_fails(const std::string& path, const char* label) {
  RealOs os;
  STRATA_ASSIGN(const Pool pool, Pool::open(os, path));
  STRATA_ASSIGN(std::uint64_t number, current_version(path));
  for (;;) {
    STRATA_TRY(publish_version(pool, ++number));
    acknowledge(label, kBankProcesses, number);
  }
}

Result<void> transfer(OpenBank& bank, int process, bool tells_early, const char* label) {
  SharedBank& data = bank.data();
  const std::uint64_t number = data.done[process];
  const Transfer transfer = transfer_number(data.seed, process, number);
  std::vector<RobustMutex*> locks = {&data.locks[kGroups + process],
                                     &data.locks[transfer.account[0] % kGroups]};
  if (transfer.account[1] % kGroups != transfer.account[0] % kGroups) {
    locks.push_back(&data.locks[transfer.account[1] % kGroups]);
  }
  STRATA_TRY(transact(bank.log(), locks,
                      [&](Transaction& tx) -> Result<void> {
                        auto& from = data.balances[transfer.account[0]];
                        auto& to = data.balances[transfer.account[1]];
                        STRATA_TRY(tx.write(from, tx.read(from) - transfer.amount));
                        STRATA_TRY(tx.write(to, tx.read(to) + transfer.amount));
                        if (tells_early) acknowledge(label, process, number + 1);
                        return tx.write(data.done[process], number + 1);
                      },
                      {.timeout_ms = kTimeoutMs}));
  if (!tells_early) acknowledge(label, process, number + 1);
  return {};
}

Result<void> transfer_until_power_fails(const std::string& path, int process, bool tells_early,
                                        const char* label) {
  STRATA_ASSIGN(const auto bank, OpenBank::open(path));
  for (int i = 1;; ++i) {
    STRATA_TRY(transfer(*bank, process, tells_early, label));
    if (i % kTransfersPerCheckpoint == 0) STRATA_TRY(bank->log().checkpoint());
  }
}

int run(const std::string& path, const char* label, bool tells_early) {
  for (int process = 0; process <= kBankProcesses; ++process) {
    if (fork() != 0) continue;
    const Result<void> ended = process == kBankProcesses
                                   ? publish_until_power_fails(path, label)
                                   : transfer_until_power_fails(path, process, tells_early, label);
    _exit(tell_broken(label,
                      "process " + std::to_string(process) + ": " + ended.error().to_string()));
  }
  wait(nullptr);
  return 1;
}

int recover(const std::string& path, const char* label) {
  const auto bank = OpenBank::open(path);
  if (!bank) return tell_broken(label, bank.error().to_string());
  // The labels are promises too: a DAX suite on a paged file would prove nothing.
  const bool is_dax = std::strcmp(label, "dax") == 0;
  if (((*bank)->granularity_bytes() == 64) != is_dax) {
    return tell_broken(label, "granularity " + std::to_string((*bank)->granularity_bytes()));
  }
  const SharedBank& data = (*bank)->data();
  const std::string wrong = compare_balances(data.balances, balances_after(data.seed, data.done));
  if (!wrong.empty()) return tell_broken(label, wrong);
  const auto version = current_version(path);
  if (!version) return tell_broken(label, version.error().to_string());
  std::vector<std::uint64_t> done(data.done.begin(), data.done.end());
  done.push_back(*version);
  tell_done(label, done);
  return 0;
}

}  // namespace
}  // namespace strata::test

int main(int argc, char** argv) {
  using namespace strata::test;
  if (argc < 4) return 2;
  const std::string command = argv[1];
  if (command == "create" && argc == 5) {
    const auto created = create(argv[2], std::strtoull(argv[4], nullptr, 0));
    return created ? 0 : tell_broken(argv[3], created.error().to_string());
  }
  if (command == "recover") return recover(argv[2], argv[3]);
  if (command == "run" && argc == 5) {
    return run(argv[2], argv[3], std::strcmp(argv[4], "early_acknowledgement") == 0);
  }
  return 2;
}
