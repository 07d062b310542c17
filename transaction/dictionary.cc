// What transactions do to a Dictionary; dictionary_peek.cc is for those who only look.
#include "strata/transaction/dictionary.h"

#include <fmt/format.h>

#include <cstring>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "transaction/dictionary_walk.h"

namespace strata::inline v0_1 {
namespace {

using Walk = DictionaryWalk;

Unexpected lost() {
  return fail(Code::corrupt, "dictionary: an offset, a length or a chain in it leads nowhere");
}

// In the middle of a change: nothing of it may be committed.
Unexpected lost(Transaction& tx) {
  Unexpected error = lost();
  tx.fail_with(error.status());
  return error;
}

std::uint64_t& writable(const std::uint64_t& word) { return const_cast<std::uint64_t&>(word); }

}  // namespace

std::uint64_t dictionary_hash(const DictionaryKey& key, std::uint64_t seed) {
  const std::string_view bytes = bytes_of(key);
  return XXH3_64bits_withSeed(bytes.data(), bytes.size(),
                              seed + static_cast<std::uint64_t>(key.kind));
}

struct Dictionary::Found {
  bool is_there = false;
  Walk::Spot spot;
};

Result<Dictionary::Found> Dictionary::look_up(const Transaction& tx, const DictionaryKey& key,
                                              std::uint64_t hash) const {
  Found found;
  const Walk::End end = Walk::find(LockedReader{tx}, table_, key, hash, found.spot);
  if (end == Walk::End::lost) return lost();
  found.is_there = end == Walk::End::found;
  return found;
}

Result<std::optional<DictionaryValue>> Dictionary::get(const Transaction& tx,
                                                       const DictionaryKey& key) const {
  STRATA_ASSIGN(const Found found, look_up(tx, key, dictionary_hash(key, seed_)));
  if (!found.is_there) return std::optional<DictionaryValue>();
  const DictionaryNode& node = found.spot.node;
  return std::optional(Walk::value_of(node, found.spot.place + value_at(node)));
}

Result<void> Dictionary::set(Transaction& tx, const DictionaryKey& key,
                             const DictionaryValue& value) {
  const std::uint64_t hash = dictionary_hash(key, seed_);
  STRATA_ASSIGN(const Found found, look_up(tx, key, hash));
  return found.is_there ? put(tx, key, found, value) : add_node(tx, key, hash, value);
}

Result<bool> Dictionary::insert(Transaction& tx, const DictionaryKey& key,
                                const DictionaryValue& value) {
  const std::uint64_t hash = dictionary_hash(key, seed_);
  STRATA_ASSIGN(const Found found, look_up(tx, key, hash));
  if (found.is_there) return false;
  STRATA_TRY(add_node(tx, key, hash, value));
  return true;
}

Result<bool> Dictionary::erase(Transaction& tx, const DictionaryKey& key) {
  STRATA_ASSIGN(const Found found, look_up(tx, key, dictionary_hash(key, seed_)));
  if (!found.is_there) return false;
  STRATA_TRY(remove(tx, found));
  return true;
}

Result<std::int64_t> Dictionary::add(Transaction& tx, const DictionaryKey& key,
                                     std::int64_t difference) {
  const std::uint64_t hash = dictionary_hash(key, seed_);
  STRATA_ASSIGN(const Found found, look_up(tx, key, hash));
  if (!found.is_there) {
    STRATA_TRY(add_node(tx, key, hash, difference));
    return difference;
  }
  if (found.spot.node.value.kind != static_cast<std::uint32_t>(DictionaryValue::Kind::integer)) {
    return fail(Code::invalid_argument, "dictionary: add to a value that is no integer");
  }
  const auto now = static_cast<std::int64_t>(found.spot.node.value.word);
  std::int64_t sum = 0;
  if (__builtin_add_overflow(now, difference, &sum)) {
    return fail(Code::invalid_argument,
                fmt::format("dictionary: {} + {} is no number of 64 bits", now, difference));
  }
  STRATA_TRY(put(tx, key, found, sum));
  return sum;
}

Result<bool> Dictionary::compare_and_set(Transaction& tx, const DictionaryKey& key,
                                         const std::optional<DictionaryValue>& expected,
                                         const std::optional<DictionaryValue>& desired) {
  const std::uint64_t hash = dictionary_hash(key, seed_);
  STRATA_ASSIGN(const Found found, look_up(tx, key, hash));
  if (found.is_there != expected.has_value()) return false;
  if (!found.is_there) {
    if (desired) STRATA_TRY(add_node(tx, key, hash, *desired));
    return true;
  }
  const DictionaryNode& node = found.spot.node;
  if (Walk::value_of(node, found.spot.place + value_at(node)) != *expected) return false;
  STRATA_TRY(desired ? put(tx, key, found, *desired) : remove(tx, found));
  return true;
}

// Of a key that is there. A number takes the place of a number; anything else is a node anew, so
// that whoever copies a value without a lock sees by the node alone that it is still the same.
Result<void> Dictionary::put(Transaction& tx, const DictionaryKey& key, const Found& found,
                             const DictionaryValue& value) {
  const Walk::Spot& spot = found.spot;
  STRATA_TRY(tx.announce(sequence_));
  if (!value.has_bytes() && !has_bytes(spot.node.value)) {
    auto* const node = reinterpret_cast<DictionaryNode*>(const_cast<std::byte*>(spot.place));
    return tx.write(node->value, {static_cast<std::uint32_t>(value.kind), value.tag, value.word});
  }
  STRATA_ASSIGN(const std::uint64_t node,
                make_node(tx, key, spot.node.hash, spot.node.next, value));
  STRATA_TRY(tx.write(writable(*spot.link), node));
  return tx.free(Offset<std::byte>{spot.offset});
}

// Of a key that is not there: first in its bucket.
Result<void> Dictionary::add_node(Transaction& tx, const DictionaryKey& key, std::uint64_t hash,
                                  const DictionaryValue& value) {
  STRATA_TRY(tx.announce(sequence_));
  if (tx.read(table_.buckets) == 0) {
    STRATA_TRY(make_segment(tx, 0));
    STRATA_TRY(tx.write(table_.buckets, kFirstBuckets));
  }
  const std::uint64_t buckets = tx.read(table_.buckets);
  const std::uint64_t* const head =
      Walk::head(LockedReader{tx}, table_, Walk::bucket_of(hash, buckets));
  if (head == nullptr) return lost(tx);
  STRATA_ASSIGN(const std::uint64_t node, make_node(tx, key, hash, tx.read(*head), value));
  STRATA_TRY(tx.write(writable(*head), node));
  const std::uint64_t count = tx.read(count_) + 1;
  STRATA_TRY(tx.write(count_, count));
  return count > buckets ? split(tx) : Result<void>();
}

Result<void> Dictionary::remove(Transaction& tx, const Found& found) {
  STRATA_TRY(tx.announce(sequence_));
  STRATA_TRY(tx.write(writable(*found.spot.link), found.spot.node.next));
  STRATA_TRY(tx.write(count_, tx.read(count_) - 1));
  return tx.free(Offset<std::byte>{found.spot.offset});
}

Result<std::uint64_t> Dictionary::make_node(Transaction& tx, const DictionaryKey& key,
                                            std::uint64_t hash, std::uint64_t next,
                                            const DictionaryValue& value) {
  const std::string_view key_bytes = bytes_of(key);
  if (key_bytes.size() > kMaxDictionaryBytes || value.bytes.size() > kMaxDictionaryBytes) {
    Status status(Code::exhausted, "dictionary: a key or a value that no heap can hold");
    tx.fail_with(status);
    return unexpected(std::move(status));
  }
  DictionaryNode node{};
  node.next = next;
  node.hash = hash;
  node.stamp = sequence_.load(std::memory_order_relaxed) | 1;
  node.key_bytes = key_bytes.size();
  node.key_kind = static_cast<std::uint8_t>(key.kind);
  node.value = {static_cast<std::uint32_t>(value.kind), value.tag,
                value.has_bytes() ? value.bytes.size() : value.word};
  const std::uint64_t bytes = node_bytes(node);
  STRATA_ASSIGN(const Offset<std::byte> block, tx.allocate(bytes));
  std::byte* const place = tx.get(block, bytes);
  if (place == nullptr) return lost(tx);
  std::memcpy(place, &node, sizeof(node));
  const auto fill = [&](std::uint64_t at, std::string_view from) {
    if (from.size() % 8 != 0) std::memset(place + at + from.size() / 8 * 8, 0, 8);
    if (!from.empty()) std::memcpy(place + at, from.data(), from.size());
  };
  fill(sizeof(node), key_bytes);
  if (value.has_bytes()) fill(value_at(node), value.bytes);
  return block.bytes;
}

// Buckets that nobody has split into yet need no bytes of their own.
Result<void> Dictionary::make_segment(Transaction& tx, std::size_t index) {
  const std::uint64_t buckets = Walk::segment_buckets(index);
  STRATA_ASSIGN(const Offset<std::uint64_t> segment, tx.allocate<std::uint64_t>(buckets));
  std::uint64_t* const words = tx.get(segment, buckets);
  if (words == nullptr) return lost(tx);
  if (index == 0) std::memset(words, 0, buckets * sizeof(*words));
  return tx.write(table_.segments[index], segment);
}

// One bucket becomes two: nodes whose hash has one more bit set go to the new one at the end.
Result<void> Dictionary::split(Transaction& tx) {
  const LockedReader reader{tx};
  const std::uint64_t buckets = tx.read(table_.buckets);
  const std::uint64_t low = std::bit_floor(buckets);
  const std::size_t segment = Walk::segment_of(buckets);
  if (segment >= kSegments) return {};
  if (buckets == Walk::segment_start(segment)) STRATA_TRY(make_segment(tx, segment));
  const std::uint64_t* const old_head = Walk::head(reader, table_, buckets - low);
  const std::uint64_t* const new_head = Walk::head(reader, table_, buckets);
  if (old_head == nullptr || new_head == nullptr) return lost(tx);

  // Where each of both chains goes on, and what stands there: few links change.
  struct Tail {
    const std::uint64_t* link;
    std::optional<std::uint64_t> holds;
    Result<void> set(Transaction& tx, std::uint64_t to) const {
      return holds == to ? Result<void>() : tx.write(writable(*link), to);
    }
  };
  Tail staying = {old_head, tx.read(*old_head)};
  Tail moving = {new_head, std::nullopt};
  Result<void> written;
  Walk::Spot spot;
  const Walk::End end = Walk::chain(reader, old_head, spot, [&](const Walk::Spot& here) {
    Tail& tail = (here.node.hash & low) == 0 ? staying : moving;
    written = tail.set(tx, here.offset);
    tail = {reinterpret_cast<const std::uint64_t*>(here.place), here.node.next};
    return !written.has_value();
  });
  if (end == Walk::End::lost) return lost(tx);
  STRATA_TRY(std::move(written));
  STRATA_TRY(staying.set(tx, 0));
  STRATA_TRY(moving.set(tx, 0));
  return tx.write(table_.buckets, buckets + 1);
}

Result<void> Dictionary::clear(Transaction& tx) {
  if (tx.read(table_.buckets) == 0) return {};
  // There is one place for what waits to be freed.
  if (has_discarded(tx)) STRATA_TRY(sweep(tx, ~std::uint64_t{0}));
  STRATA_TRY(tx.announce(sequence_));
  const Table old = tx.read(table_);
  STRATA_TRY(tx.write(discarded_, old));
  STRATA_TRY(tx.write(table_, Table{}));
  STRATA_TRY(tx.write(swept_, 0));
  return tx.write(count_, 0);
}

// Nobody can come upon these nodes any more: there is nothing to announce.
Result<void> Dictionary::sweep(Transaction& tx, std::uint64_t max_nodes) {
  const LockedReader reader{tx};
  const std::uint64_t buckets = tx.read(discarded_.buckets);
  if (buckets == 0) return {};
  std::uint64_t freed = 0, bucket = tx.read(swept_);
  // A bucket counts as a node: most work is to look at it.
  for (std::uint64_t looked = 0; bucket < buckets; ++bucket, ++looked) {
    if (freed + looked / 8 >= max_nodes) break;
    const std::uint64_t* const head = Walk::head(reader, discarded_, bucket);
    if (head == nullptr) return lost(tx);
    std::uint64_t next = tx.read(*head);
    if (next == 0) continue;
    for (; next != 0 && freed < max_nodes; ++freed) {
      const std::byte* const place = reader.at(next, sizeof(DictionaryNode));
      if (place == nullptr) return lost(tx);
      STRATA_TRY(tx.free(Offset<std::byte>{next}));
      next = tx.read(*reinterpret_cast<const std::uint64_t*>(place));
    }
    STRATA_TRY(tx.write(writable(*head), next));
    if (next != 0) break;
  }
  if (bucket < buckets) return tx.write(swept_, bucket);
  for (std::size_t i = 0; i <= Walk::segment_of(buckets - 1); ++i)
    STRATA_TRY(tx.free(Offset<std::byte>{tx.read(discarded_.segments[i].bytes)}));
  return tx.write(discarded_, Table{});
}

Result<void> Dictionary::for_each(const Transaction& tx, const Visit& visit) const {
  const LockedReader reader{tx};
  const std::uint64_t buckets = tx.read(table_.buckets);
  for (std::uint64_t bucket = 0; bucket < buckets; ++bucket) {
    const std::uint64_t* const head = Walk::head(reader, table_, bucket);
    if (head == nullptr) return lost();
    Result<void> visited;
    bool is_lost = false;
    Walk::Spot spot;
    const Walk::End end = Walk::chain(reader, head, spot, [&](const Walk::Spot& here) {
      const std::uint64_t bytes = node_bytes(here.node);
      is_lost =
          !Walk::has_kinds(here.node) || bytes == 0 || reader.at(here.offset, bytes) == nullptr;
      if (is_lost) return true;
      visited = visit(Walk::key_of(here.node, here.place + sizeof(here.node)),
                      Walk::value_of(here.node, here.place + value_at(here.node)));
      return !visited.has_value();
    });
    if (is_lost || end == Walk::End::lost) return lost();
    STRATA_TRY(std::move(visited));
  }
  return {};
}

}  // namespace strata::inline v0_1
