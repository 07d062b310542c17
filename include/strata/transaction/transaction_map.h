// A TransactionMap counts by key: a hash map from byte strings to 64-bit numbers that lies in a
// segment and is changed by transactions alone, so that it is whole after any death.
//
//     struct Root { RobustMutex lock; TransactionMap words; };      // zeroed bytes: empty
//     heap.transact(root.lock, [&](Transaction& tx) { return root.words.add(tx, "word", 1); });
//
//   Threads:  any, inside a transaction that holds the map's lock.
//   Lifetime: of its segment; never moved.
//   Errors:   exhausted; corrupt where its bytes contradict each other; each leaves it as it was.
//   Cost:     a find reads about two buckets; growth copies all of them into a new table.
//   Persists: as the segment does.
// Why not Boost.Unordered over our allocator: nothing can undo what it stores into its nodes. The
// bytes are in docs/format/transaction_map.md.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "strata/base/result.h"
#include "strata/segment/offset.h"
#include "strata/transaction/transaction.h"

#pragma GCC visibility push(default)
namespace strata::inline v0_1 {

class TransactionMap {
 public:
  TransactionMap() = default;
  TransactionMap(const TransactionMap&) = delete;
  TransactionMap& operator=(const TransactionMap&) = delete;

  std::uint64_t size(const Transaction& tx) const { return tx.read(count_); }
  // The number of `key`, or nothing.
  Result<std::optional<std::uint64_t>> find(const Transaction& tx, std::string_view key) const;
  // Makes it `value`; a new key is copied into the segment.
  Result<void> set(Transaction& tx, std::string_view key, std::uint64_t value);
  // Adds to it, from 0 for a new key; returns the sum.
  Result<std::uint64_t> add(Transaction& tx, std::string_view key, std::uint64_t difference);
  // Whether it was there.
  Result<bool> erase(Transaction& tx, std::string_view key);
  // Frees everything.
  Result<void> clear(Transaction& tx);

  // Calls visit(std::string_view key, std::uint64_t value) for each, in no order. The key is valid
  // during the call.
  template <typename Visit>
  Result<void> for_each(const Transaction& tx, Visit&& visit) const {
    STRATA_ASSIGN(const std::vector<Bucket> buckets, read_table(tx));
    for (const Bucket& bucket : buckets) {
      if (bucket.key <= kErased) continue;
      STRATA_ASSIGN(const std::string_view key, key_of(tx, bucket));
      visit(key, bucket.value);
    }
    return {};
  }

 private:
  struct Bucket {
    std::uint64_t key;  // offset of its bytes; kEmpty, kErased
    std::uint64_t key_bytes;
    std::uint64_t hash;
    std::uint64_t value;
  };
  static_assert(sizeof(Bucket) == 32);
  static constexpr std::uint64_t kEmpty = 0;
  static constexpr std::uint64_t kErased = 1;
  static constexpr std::uint64_t kFirstCapacity = 16;

  struct Found {
    Bucket* bucket;  // where the key is, or where it would go
    Bucket content;
    bool is_there;
  };
  Result<Bucket*> table(const Transaction& tx, std::uint64_t& capacity) const;
  Result<std::vector<Bucket>> read_table(const Transaction& tx) const;
  Result<Found> look_up(const Transaction& tx, std::string_view key, std::uint64_t hash) const;
  static Result<std::string_view> key_of(const Transaction& tx, const Bucket& bucket);
  Result<void> insert(Transaction& tx, std::string_view key, std::uint64_t hash,
                      std::uint64_t value);
  Result<void> make_room(Transaction& tx);

  Offset<Bucket> buckets_;      // 0
  std::uint64_t capacity_ = 0;  // 8: a power of two
  std::uint64_t count_ = 0;     // 16: keys
  std::uint64_t used_ = 0;      // 24: keys and erased buckets
};
static_assert(sizeof(TransactionMap) == 32);

}  // namespace strata::inline v0_1
#pragma GCC visibility pop
