// The bank once more, on the library: a heap in a segment of a pool, which several processes change
// through shared transactions. Each transfer also writes a receipt, a block of the heap that the
// transaction allocates, and frees the receipt that it takes the place of.
//   Threads:  one; one object for each process, opened after the fork.
//   Errors:   check: corrupt, with what is wrong.
//   Persists: every transfer that `transfer` returned from.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "os/os.h"
#include "pmem/pmem_backend.h"
#include "strata/heap/heap.h"
#include "tests/vm/transfers.h"

namespace strata::inline v0_1::test {

inline constexpr std::uint64_t kBankPoolBytes = MiB(48);
inline constexpr int kGroups = 8;  // of accounts, each with a lock
inline constexpr std::uint64_t kReceipts = 32;
// Emulated CPUs on a busy machine: what takes a millisecond elsewhere may take seconds.
inline constexpr std::uint64_t kTimeoutMs = 60'000;

// A block of a size of its own, filled with one word.
struct Receipt {
  std::uint64_t process;
  std::uint64_t number;
  std::uint64_t word_count;  // that follow
};

struct SharedBankData {
  std::uint64_t seed;
  std::uint64_t other_blocks;  // of the heap: all but the receipts
  std::array<std::uint8_t, 48> reserved;
  std::array<RobustMutex, kGroups + kBankProcesses> locks;  // the last ones: of `done`
  std::array<std::uint64_t, kBankProcesses> done;
  std::array<std::int64_t, kAccounts> balances;
  // Of each process's newest transfers; none for every seventh.
  std::array<std::array<Offset<std::byte>, kReceipts>, kBankProcesses> receipts;
};

class SharedBank {
 public:
  // Makes the segment `bank` in the pool at `path`.
  static Result<void> create(const std::string& path, std::uint64_t seed);
  // Recovers what a lost supply or a dead process left.
  static Result<std::unique_ptr<SharedBank>> open(const std::string& path);

  // Does the process's next transfer. `tell` gets its number: once it is safe, or early.
  enum class Tells { when_safe, too_early };
  Result<void> transfer(int process, Tells when, const std::function<void(std::uint64_t)>& tell);
  Result<void> checkpoint_log();

  // Every balance, every receipt and every block of the heap are as the transfers done say.
  // Nobody else may have it open.
  Result<void> check();
  // Room and blocks, for messages.
  std::string describe_heap() const;
  const SharedBankData& data() const { return *data_; }
  std::size_t granularity_bytes() { return segment_->durability().granularity_bytes(); }

 private:
  explicit SharedBank(const std::string& path) : backend_(os_, {.pools = {path}}) {}
  Result<void> write_receipt(Transaction& tx, int process, std::uint64_t number);
  Result<void> check_receipt(int process, std::uint64_t number) const;
  Result<std::uint64_t> check_receipts() const;
  Result<void> check_spans();

  RealOs os_;
  PmemBackend backend_;
  std::unique_ptr<Segment> segment_;
  std::unique_ptr<Heap> heap_;
  SharedBankData* data_ = nullptr;
};

}  // namespace strata::inline v0_1::test
