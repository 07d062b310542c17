#include "strata/transaction/transaction_map.h"

#include <bit>
#include <cstring>

#define XXH_INLINE_ALL
#include <xxhash.h>

namespace strata::inline v0_1 {
namespace {

std::uint64_t hash_of(std::string_view key) { return XXH3_64bits(key.data(), key.size()); }

}  // namespace

Result<TransactionMap::Bucket*> TransactionMap::table(const Transaction& tx,
                                                      std::uint64_t& capacity) const {
  capacity = tx.read(capacity_);
  Bucket* const buckets = tx.get(tx.read(buckets_), capacity);
  if (buckets == nullptr || !std::has_single_bit(capacity)) {
    return fail(Code::corrupt, "map: its table is not in the payload");
  }
  return buckets;
}

Result<std::vector<TransactionMap::Bucket>> TransactionMap::read_table(
    const Transaction& tx) const {
  if (tx.read(capacity_) == 0) return std::vector<Bucket>();
  std::uint64_t capacity = 0;
  STRATA_ASSIGN(const Bucket* const buckets, table(tx, capacity));
  std::vector<Bucket> copy(capacity);
  tx.read_bytes(copy.data(), buckets, capacity * sizeof(Bucket));
  return copy;
}

Result<std::string_view> TransactionMap::key_of(const Transaction& tx, const Bucket& bucket) {
  // Keys never change, and no write is pending for them: they can be read where they are.
  const char* const text = tx.get(Offset<char>{bucket.key}, bucket.key_bytes);
  if (text == nullptr) return fail(Code::corrupt, "map: a key is not in the payload");
  return std::string_view(text, bucket.key_bytes);
}

Result<TransactionMap::Found> TransactionMap::look_up(const Transaction& tx, std::string_view key,
                                                      std::uint64_t hash) const {
  std::uint64_t capacity = 0;
  STRATA_ASSIGN(Bucket* const buckets, table(tx, capacity));
  Bucket* reusable = nullptr;
  for (std::uint64_t i = 0; i < capacity; ++i) {
    Bucket* const bucket = buckets + ((hash + i) & (capacity - 1));
    const Bucket content = tx.read(*bucket);
    if (content.key == kEmpty) return Found{reusable ? reusable : bucket, content, false};
    if (content.key == kErased) {
      if (reusable == nullptr) reusable = bucket;
      continue;
    }
    if (content.hash != hash || content.key_bytes != key.size()) continue;
    STRATA_ASSIGN(const std::string_view other, key_of(tx, content));
    if (other == key) return Found{bucket, content, true};
  }
  if (reusable != nullptr) return Found{reusable, {}, false};
  return fail(Code::corrupt, "map: its table has no empty bucket");
}

Result<std::optional<std::uint64_t>> TransactionMap::find(const Transaction& tx,
                                                          std::string_view key) const {
  if (tx.read(capacity_) == 0) return std::optional<std::uint64_t>();
  STRATA_ASSIGN(const Found found, look_up(tx, key, hash_of(key)));
  return found.is_there ? std::optional(found.content.value) : std::nullopt;
}

Result<std::uint64_t> TransactionMap::add(Transaction& tx, std::string_view key,
                                          std::uint64_t difference) {
  const std::uint64_t hash = hash_of(key);
  if (tx.read(capacity_) != 0) {
    STRATA_ASSIGN(const Found found, look_up(tx, key, hash));
    if (found.is_there) {
      const std::uint64_t sum = found.content.value + difference;
      STRATA_TRY(tx.write(found.bucket->value, sum));
      return sum;
    }
  }
  STRATA_TRY(insert(tx, key, hash, difference));
  return difference;
}

Result<void> TransactionMap::set(Transaction& tx, std::string_view key, std::uint64_t value) {
  const std::uint64_t hash = hash_of(key);
  if (tx.read(capacity_) != 0) {
    STRATA_ASSIGN(const Found found, look_up(tx, key, hash));
    if (found.is_there) return tx.write(found.bucket->value, value);
  }
  return insert(tx, key, hash, value);
}

// Of a key that is not there.
Result<void> TransactionMap::insert(Transaction& tx, std::string_view key, std::uint64_t hash,
                                    std::uint64_t value) {
  STRATA_TRY(make_room(tx));
  STRATA_ASSIGN(const Found found, look_up(tx, key, hash));
  STRATA_ASSIGN(const Offset<char> text, tx.allocate<char>(std::max<std::size_t>(key.size(), 1)));
  if (!key.empty()) std::memcpy(tx.get(text, key.size()), key.data(), key.size());
  if (tx.read(found.bucket->key) == kEmpty) STRATA_TRY(tx.write(used_, tx.read(used_) + 1));
  STRATA_TRY(tx.write(*found.bucket, Bucket{text.bytes, key.size(), hash, value}));
  return tx.write(count_, tx.read(count_) + 1);
}

// A quarter of the buckets stays empty. The new table is filled in place, as nobody sees it before
// the commit: growth takes no more of the log than one write.
Result<void> TransactionMap::make_room(Transaction& tx) {
  const std::uint64_t capacity = tx.read(capacity_);
  if ((tx.read(used_) + 1) * 4 <= capacity * 3) return {};
  const std::uint64_t count = tx.read(count_);
  const std::uint64_t wanted =
      std::max(kFirstCapacity, std::bit_ceil((count + 1) * 2));  // erased buckets go away, too
  STRATA_ASSIGN(const std::vector<Bucket> old, read_table(tx));
  STRATA_ASSIGN(const Offset<Bucket> grown, tx.allocate<Bucket>(wanted));
  Bucket* const buckets = tx.get(grown, wanted);
  std::memset(static_cast<void*>(buckets), 0, wanted * sizeof(Bucket));
  std::uint64_t moved = 0;
  for (const Bucket& bucket : old) {
    if (bucket.key <= kErased) continue;
    if (++moved > count) return fail(Code::corrupt, "map: it holds more keys than it counts");
    std::uint64_t at = bucket.hash & (wanted - 1);
    while (buckets[at].key != kEmpty)
      at = (at + 1) & (wanted - 1);
    buckets[at] = bucket;
  }
  if (capacity != 0) STRATA_TRY(tx.free(tx.read(buckets_)));
  STRATA_TRY(tx.write(buckets_, grown));
  STRATA_TRY(tx.write(capacity_, wanted));
  return tx.write(used_, count);
}

Result<bool> TransactionMap::erase(Transaction& tx, std::string_view key) {
  if (tx.read(capacity_) == 0) return false;
  STRATA_ASSIGN(const Found found, look_up(tx, key, hash_of(key)));
  if (!found.is_there) return false;
  STRATA_TRY(tx.free(Offset<std::byte>{found.content.key}));
  STRATA_TRY(tx.write(*found.bucket, Bucket{kErased, 0, 0, 0}));
  STRATA_TRY(tx.write(count_, tx.read(count_) - 1));
  return true;
}

Result<void> TransactionMap::clear(Transaction& tx) {
  STRATA_ASSIGN(const std::vector<Bucket> buckets, read_table(tx));
  for (const Bucket& bucket : buckets)
    if (bucket.key > kErased) STRATA_TRY(tx.free(Offset<std::byte>{bucket.key}));
  if (tx.read(capacity_) != 0) STRATA_TRY(tx.free(tx.read(buckets_)));
  STRATA_TRY(tx.write(buckets_, Offset<Bucket>{}));
  STRATA_TRY(tx.write(capacity_, 0));
  STRATA_TRY(tx.write(count_, 0));
  return tx.write(used_, 0);
}

}  // namespace strata::inline v0_1
