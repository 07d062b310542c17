// How the bytes of a Dictionary are read: by a transaction that holds its lock, or by anybody,
// while somebody else changes them. One walk serves both; they differ in how they reach the bytes.
//   Threads:  RacingReader any, at any time; LockedReader that of its transaction.
//   Errors:   every offset, length and chain is bounded before it is followed: a walk that would
//             leave the payload, or would not end, is lost.
// docs/format/dictionary.md is the contract of the bytes.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>

#include "strata/base/bytes.h"
#include "strata/transaction/dictionary.h"

// The thread sanitizer would report what is read while it changes; it is looked at again
// afterwards.
#if defined(__SANITIZE_THREAD__)
#define STRATA_RACING __attribute__((no_sanitize("thread"), noinline))
#else
#define STRATA_RACING
#endif

namespace strata::inline v0_1 {

// A key with its value: a block. Behind it stand the bytes of the key, padded to 8, and those of
// the value. Once others can see it, all that changes is `next` and, where the value is a number,
// the number, with its kind.
struct DictionaryNode {
  std::uint64_t next;   // offset; 0: the last of its bucket
  std::uint64_t hash;   // of the key
  std::uint64_t stamp;  // the sequence of the commit that made it: no other node here had it
  std::uint64_t key_bytes;
  std::uint8_t key_kind;
  std::uint8_t reserved[7];
  // Written as one.
  struct Value {
    std::uint32_t kind;
    std::uint32_t tag;
    std::uint64_t word;  // the number, or how many bytes
  } value;
};
static_assert(sizeof(DictionaryNode) == 56 && offsetof(DictionaryNode, value) == 40);

inline constexpr std::uint64_t kMaxDictionaryBytes = std::uint64_t{1} << 46;  // of a key, a value

inline bool has_bytes(const DictionaryNode::Value& value) {
  return value.kind >= static_cast<std::uint32_t>(DictionaryValue::Kind::bytes);
}

// Where the bytes of the value begin, and where the node ends, from its start. 0: no node is so
// large.
inline std::uint64_t value_at(const DictionaryNode& node) {
  return node.key_bytes > kMaxDictionaryBytes
             ? 0
             : sizeof(DictionaryNode) + align_up(node.key_bytes, 8);
}
inline std::uint64_t node_bytes(const DictionaryNode& node) {
  const std::uint64_t value_bytes = has_bytes(node.value) ? node.value.word : 0;
  const std::uint64_t at = value_at(node);
  return at == 0 || value_bytes > kMaxDictionaryBytes ? 0 : at + align_up(value_bytes, 8);
}

// Reads while others write.
struct RacingReader {
  std::span<const std::byte> payload;

  STRATA_RACING static std::uint64_t load(const std::uint64_t& word) {
    return __atomic_load_n(&word, __ATOMIC_RELAXED);
  }
  // Both start on a word and have room for whole ones.
  STRATA_RACING static void copy_words(void* to, const std::byte* from, std::uint64_t bytes) {
    auto* const words = static_cast<std::byte*>(to);
    for (std::uint64_t i = 0; i < bytes; i += 8) {
      const std::uint64_t word =
          __atomic_load_n(reinterpret_cast<const std::uint64_t*>(from + i), __ATOMIC_RELAXED);
      std::memcpy(words + i, &word, sizeof(word));
    }
  }
  STRATA_RACING static void copy(char* to, const std::byte* from, std::uint64_t bytes) {
#if defined(__SANITIZE_THREAD__)
    for (std::uint64_t i = 0; i < bytes; ++i)
      to[i] = static_cast<char>(
          __atomic_load_n(reinterpret_cast<const unsigned char*>(from + i), __ATOMIC_RELAXED));
#else
    std::memcpy(to, from, bytes);
#endif
  }
  STRATA_RACING static bool is_equal(const std::byte* bytes, std::string_view to) {
    const std::size_t rest = to.size() % 8, whole = to.size() - rest;
    std::uint64_t wanted = 0;
    for (std::size_t i = 0; i < whole; i += 8) {
      std::memcpy(&wanted, to.data() + i, sizeof(wanted));
      if (load(*reinterpret_cast<const std::uint64_t*>(bytes + i)) != wanted) return false;
    }
    if (rest == 0) return true;
    wanted = 0;
    std::memcpy(&wanted, to.data() + whole, rest);
    const std::uint64_t found = load(*reinterpret_cast<const std::uint64_t*>(bytes + whole));
    return (found ^ wanted) << (64 - 8 * rest) == 0;
  }
  // Null where they are not all there.
  const std::byte* at(std::uint64_t offset, std::uint64_t bytes) const {
    return reinterpret_cast<const std::byte*>(
        resolve(payload, Offset<std::uint64_t>{offset}, align_up(bytes, 8) / 8));
  }
};

// Reads as a transaction that holds the lock.
struct LockedReader {
  const Transaction& tx;

  std::uint64_t load(const std::uint64_t& word) const { return tx.read(word); }
  void copy_words(void* to, const std::byte* from, std::uint64_t bytes) const {
    tx.read_bytes(to, from, bytes);
  }
  // Of what never changes.
  static bool is_equal(const std::byte* bytes, std::string_view to) {
    return to.empty() || std::memcmp(bytes, to.data(), to.size()) == 0;
  }
  const std::byte* at(std::uint64_t offset, std::uint64_t bytes) const {
    return reinterpret_cast<const std::byte*>(
        tx.get(Offset<std::uint64_t>{offset}, align_up(bytes, 8) / 8));
  }
};

// The bytes that stand for a key; of a number, those of a copy that must live as long.
inline std::string_view bytes_of(const DictionaryKey& key) {
  return key.kind == DictionaryKey::Kind::integer
             ? std::string_view(reinterpret_cast<const char*>(&key.integer), sizeof(key.integer))
             : key.bytes;
}

std::uint64_t dictionary_hash(const DictionaryKey& key, std::uint64_t seed);

struct DictionaryWalk {
  using Table = Dictionary::Table;
  static constexpr std::uint64_t kFirstBuckets = Dictionary::kFirstBuckets;

  enum class End : std::uint8_t { found, absent, lost };
  struct Spot {
    const std::uint64_t* link = nullptr;  // the word that holds `offset`
    std::uint64_t offset = 0;             // of the node
    const std::byte* place = nullptr;
    DictionaryNode node{};
  };

  static std::uint64_t bucket_of(std::uint64_t hash, std::uint64_t buckets) {
    const std::uint64_t low = std::bit_floor(buckets);
    const std::uint64_t bucket = hash & (2 * low - 1);
    return bucket < buckets ? bucket : bucket & (low - 1);
  }
  static std::size_t segment_of(std::uint64_t bucket) {
    return static_cast<std::size_t>(std::bit_width(bucket / kFirstBuckets));
  }
  // How many buckets are in the segments before it.
  static std::uint64_t segment_start(std::size_t segment) {
    return segment == 0 ? 0 : kFirstBuckets << (segment - 1);
  }
  static std::uint64_t segment_buckets(std::size_t segment) {
    return segment == 0 ? kFirstBuckets : segment_start(segment);
  }

  // The word of a bucket; null where there is none.
  template <typename Reader>
  static const std::uint64_t* head(const Reader& reader, const Table& table, std::uint64_t bucket) {
    const std::size_t segment = segment_of(bucket);
    if (segment >= Dictionary::kSegments) return nullptr;
    const std::uint64_t index = bucket - segment_start(segment);
    const std::byte* const words =
        reader.at(reader.load(table.segments[segment].bytes), (index + 1) * sizeof(std::uint64_t));
    return words == nullptr ? nullptr : reinterpret_cast<const std::uint64_t*>(words) + index;
  }

  // Calls visit(spot) for the nodes of a bucket until that returns true: found. A chain that
  // comes back to itself is lost (R. P. Brent, 1980).
  template <typename Reader, typename Visit>
  static End chain(const Reader& reader, const std::uint64_t* link, Spot& spot, Visit&& visit) {
    std::uint64_t mark = 0;
    for (std::uint64_t steps = 0, limit = 16;; ++steps) {
      spot.link = link;
      spot.offset = reader.load(*link);
      if (spot.offset == 0) return End::absent;
      if (spot.offset == mark) return End::lost;
      if (steps == limit) {
        mark = spot.offset;
        limit *= 2;
      }
      spot.place = reader.at(spot.offset, sizeof(DictionaryNode));
      if (spot.place == nullptr) return End::lost;
      reader.copy_words(&spot.node, spot.place, sizeof(spot.node));
      if (visit(spot)) return End::found;
      link = reinterpret_cast<const std::uint64_t*>(spot.place);  // its `next`
    }
  }

  template <typename Reader>
  static End find(const Reader& reader, const Table& table, const DictionaryKey& key,
                  std::uint64_t hash, Spot& spot) {
    const std::uint64_t buckets = reader.load(table.buckets);
    if (buckets == 0) return End::absent;
    const std::uint64_t* const first = head(reader, table, bucket_of(hash, buckets));
    if (first == nullptr) return End::lost;
    const std::string_view bytes = bytes_of(key);
    bool is_outside = false;
    const End end = chain(reader, first, spot, [&](const Spot& here) {
      const DictionaryNode& node = here.node;
      if (node.hash != hash || node.key_bytes != bytes.size() ||
          node.key_kind != static_cast<std::uint8_t>(key.kind)) {
        return false;
      }
      const std::uint64_t all = node_bytes(node);
      is_outside = !has_kinds(node) || all == 0 || reader.at(here.offset, all) == nullptr;
      return is_outside || reader.is_equal(here.place + sizeof(node), bytes);
    });
    return is_outside ? End::lost : end;
  }

  // The key and the value of a node whose bytes are all in the payload.
  static DictionaryKey key_of(const DictionaryNode& node, const std::byte* key_bytes) {
    const auto* const bytes = reinterpret_cast<const char*>(key_bytes);
    if (node.key_kind == static_cast<std::uint8_t>(DictionaryKey::Kind::integer)) {
      std::int64_t number = 0;
      if (node.key_bytes == sizeof(number)) std::memcpy(&number, bytes, sizeof(number));
      return number;
    }
    const std::string_view text(bytes, node.key_bytes);
    return node.key_kind == static_cast<std::uint8_t>(DictionaryKey::Kind::bytes)
               ? DictionaryKey::of_bytes(text)
               : DictionaryKey(text);
  }
  static DictionaryValue value_of(const DictionaryNode& node, const std::byte* value_bytes) {
    DictionaryValue value;
    value.kind = static_cast<DictionaryValue::Kind>(node.value.kind);
    value.tag = node.value.tag;
    if (has_bytes(node.value)) {
      value.bytes = {reinterpret_cast<const char*>(value_bytes), node.value.word};
    } else {
      value.word = node.value.word;
    }
    return value;
  }
  static bool has_kinds(const DictionaryNode& node) {
    return node.key_kind >= 1 && node.key_kind <= 3 && node.value.kind >= 1 && node.value.kind <= 7;
  }
};

}  // namespace strata::inline v0_1
