// A Transaction makes many updates, allocations and frees happen all or not at all: when it
// returns an error, when an exception passes, when the process is killed at any instruction, and
// on a durable segment when the power fails.
//
//     STRATA_TRY(transact(log, accounts.lock, [&](Transaction& tx) -> Result<void> {
//       STRATA_TRY(tx.write(from.balance, tx.read(from.balance) - amount));
//       return tx.write(to.balance, tx.read(to.balance) + amount);
//     }));
//
// What write() writes is seen by read() of the same transaction at once, and by everybody,
// also through plain loads of its own, only after the commit. To change bytes in place instead
// (through methods of their own, say), take a snapshot() of them first.
//   Threads:  of one thread. What it touches must be guarded by the locks that it takes.
//   Lifetime: within transact(). Nested calls join the outer transaction: they take their lock
//             in addition, all locks are released at the outer end, and an error of the inner
//             one, even if the outer one goes on, leaves nothing of either.
//   Errors:   exhausted where the slot's buffer or the heap is full, timed_out for a lock or a
//             slot; each leaves nothing changed, even if the function returns success after it.
//   Cost:     on volatile memory two copies of the bytes; on durable memory three, and one drain at
//             commit, one more for each snapshot() call, for large new blocks and on cache
//             lines for writes of a kilobyte and more.
//   Persists: when transact() returns success on a durable segment, it is durable.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <type_traits>
#include <utility>

#include "strata/base/bytes.h"
#include "strata/base/result.h"
#include "strata/segment/offset.h"
#include "strata/sync/robust_mutex.h"
#include "strata/sync/shared_word.h"

namespace strata::inline v0_1 {
class TransactionLog;  // hidden: declared outside of the pragma
}

#pragma GCC visibility push(default)
namespace strata::inline v0_1 {

inline constexpr std::uint32_t kMaxTransactionLocks = 8;

struct TransactionLogOptions {
  std::uint32_t slot_count = 16;       // transactions that run at the same time
  std::uint64_t slot_bytes = KiB(64);  // a multiple of 4 KiB; a transaction has at least half
  std::uint64_t log_bytes() const;     // what the log needs
};

struct TransactOptions {
  std::uint64_t timeout_ms = 10'000;  // for all locks, and for a slot of the log
};

class Transaction {
 public:
  Transaction(const Transaction&) = delete;
  Transaction& operator=(const Transaction&) = delete;

  // `target` lies in the payload. At commit it becomes `value`; at once where it is in a block
  // of allocate() or under a snapshot(). Errors: invalid_argument outside the payload; exhausted.
  template <typename T>
  Result<void> write(T& target, const std::type_identity_t<T>& value) {
    static_assert(std::is_trivially_copyable_v<T>);
    return write_bytes(&target, &value, sizeof(T));
  }
  Result<void> write_bytes(void* target, const void* value, std::uint64_t bytes);

  // What `source` is for this transaction: with what it has written.
  template <typename T>
  T read(const T& source) const {
    static_assert(std::is_trivially_copyable_v<T>);
    T value;
    read_bytes(&value, &source, sizeof(T));
    return value;
  }
  void read_bytes(void* to, const void* source, std::uint64_t bytes) const;

  // Keeps the old bytes, so that they may be changed in place from now on until the transaction
  // ends. On durable memory give all ranges at once: each call is a drain.
  // Errors: as write; failed_precondition where write() has written to the range before.
  Result<void> snapshot_bytes(std::span<const std::span<std::byte>> ranges);
  template <typename... T>
  Result<void> snapshot(T&... objects) {
    const std::span<std::byte> ranges[] = {
        std::as_writable_bytes(std::span<T>(std::addressof(objects), 1))...};
    return snapshot_bytes(ranges);
  }

  // A block of at least `bytes`, uninitialised, to be filled in place. It exists for others
  // once the transaction has committed. Errors: exhausted; invalid_argument for the alignment.
  Result<Offset<std::byte>> allocate(std::uint64_t bytes, std::uint64_t align = 16);
  template <typename T>
  Result<Offset<T>> allocate(std::uint64_t count = 1) {
    static_assert(std::is_trivially_destructible_v<T>);
    if (count > ~std::uint64_t{0} / sizeof(T)) return fail(Code::exhausted, "count too large");
    STRATA_ASSIGN(const Offset<std::byte> block, allocate(count * sizeof(T), alignof(T)));
    return Offset<T>{block.bytes};
  }
  // Frees the block at commit; until then it can be read. Errors: invalid_argument where no
  // block starts there; failed_precondition where it is free, or was freed here before.
  Result<void> free(Offset<std::byte> block);
  template <typename T>
  requires(!std::is_same_v<T, std::byte>) Result<void> free(Offset<T> block) {
    return free(Offset<std::byte>{block.bytes});
  }

  // For those who read without the locks: `sequence`, which lies in the payload, becomes odd before
  // the commit changes anything that is written after this call, and even again, another number
  // than before, once all of it is in place. Ask before the first write; more calls do nothing.
  // A transaction that commits nothing leaves it as it is. Errors: as write.
  Result<void> announce(SharedWord<std::uint64_t>& sequence);

  // The `count` objects at `offset`; null where they are not wholly inside, or not aligned.
  template <typename T>
  T* get(Offset<T> offset, std::uint64_t count = 1) const {
    T* const place = resolve(payload(), offset, count);
    // Others may have grown the segment.
    if (place == nullptr && offset) [[unlikely]]
      return resolve(grown_payload(), offset, count);
    return place;
  }

  // The `bytes` at `address` are in the payload, as it is now.
  // Errors: invalid_argument, also where they are in the log itself.
  Result<void> check_address(const void* address, std::uint64_t bytes);
  // It commits nothing any more, and its end returns `status`: for whoever failed in the middle of
  // a change of its own.
  void fail_with(const Status& status);

 protected:
  Transaction() = default;
  ~Transaction() = default;

 private:
  std::span<std::byte> payload() const;
  std::span<std::byte> grown_payload() const;
};

namespace detail {

// Runs `function` as a transaction of this thread, or as a part of the one that it has on this log.
Result<void> run_transaction(TransactionLog& log, std::span<RobustMutex* const> locks,
                             Result<void> (*call)(void* function, Transaction& tx), void* function,
                             const TransactOptions& options);

}  // namespace detail

// Runs `function(tx)` as a transaction that holds `locks` (up to kMaxTransactionLocks, of the
// payload), taken in the order of their addresses, whatever order they are given in. Returns what
// the function returned, or why it could not be done. An exception rolls back and passes on.
template <typename Function>
Result<void> transact(TransactionLog& log, std::span<RobustMutex* const> locks, Function&& function,
                      const TransactOptions& options = {}) {
  using Plain = std::remove_reference_t<Function>;
  const auto call = [](void* plain, Transaction& tx) -> Result<void> {
    return std::forward<Function>(*static_cast<Plain*>(plain))(tx);
  };
  void* const plain = const_cast<void*>(static_cast<const void*>(std::addressof(function)));
  return detail::run_transaction(log, locks, call, plain, options);
}

template <typename Function>
Result<void> transact(TransactionLog& log, RobustMutex& lock, Function&& function,
                      const TransactOptions& options = {}) {
  RobustMutex* const locks[] = {&lock};
  return transact(log, std::span<RobustMutex* const>(locks), std::forward<Function>(function),
                  options);
}

}  // namespace strata::inline v0_1
#pragma GCC visibility pop
