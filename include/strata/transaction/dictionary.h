// A Dictionary is a hash map that lies in a segment: keys are byte strings, texts and numbers,
// values numbers and bytes of any length. It is changed by transactions alone, so that it is whole
// after any death, and read without a lock by whoever likes.
//
//     struct Root { RobustMutex lock; Dictionary map; };      // zeroed bytes: empty
//     heap.transact(root.lock, [&](Transaction& tx) { return root.map.set(tx, "answer", 42); });
//     root.map.peek(payload, "answer", room, value);          // no lock, no transaction
//
// SharedDictionary (heap/shared_dictionary.h) is the whole thing to open: a heap, a lock and this.
//   Threads:  changes inside a transaction that holds its lock; peeks by anybody, at any time, also
//             in a mapping that may only be read.
//   Lifetime: of its segment; never moved.
//   Errors:   exhausted; corrupt where its bytes contradict each other; each leaves it as it was.
//   Cost:     a look-up reads about two nodes, whatever the size: each new key splits one bucket
//             of the table. A value that is no number is a block of its own with its key.
//   Persists: as the segment does.
// Linear hashing is W. Litwin's ("Linear hashing: a new tool for file and table addressing", 1980).
// The bytes are in docs/format/dictionary.md.
#pragma once

#include <array>
#include <bit>
#include <concepts>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "strata/base/result.h"
#include "strata/segment/offset.h"
#include "strata/sync/shared_word.h"
#include "strata/transaction/transaction.h"

#pragma GCC visibility push(default)
namespace strata::inline v0_1 {

// The same bytes as text, as bytes and as a number are three keys.
struct DictionaryKey {
  enum class Kind : std::uint8_t { bytes = 1, text = 2, integer = 3 };

  DictionaryKey(const std::convertible_to<std::string_view> auto& text)
      : kind(Kind::text), bytes(text) {}
  DictionaryKey(std::integral auto number)
      : kind(Kind::integer), integer(static_cast<std::int64_t>(number)) {}
  static DictionaryKey of_bytes(std::string_view bytes) {
    DictionaryKey key(bytes);
    key.kind = Kind::bytes;
    return key;
  }

  Kind kind;
  std::string_view bytes;    // of bytes and text
  std::int64_t integer = 0;  // of integer
};

struct DictionaryValue {
  // `other` is bytes with a tag, whose meaning is the program's.
  enum class Kind : std::uint8_t {
    none = 1,
    boolean = 2,
    integer = 3,
    real = 4,
    bytes = 5,
    text = 6,
    other = 7,
  };

  DictionaryValue() = default;
  DictionaryValue(std::integral auto number)
      : kind(Kind::integer), word(static_cast<std::uint64_t>(number)) {}
  DictionaryValue(bool value) : kind(Kind::boolean), word(value ? 1 : 0) {}
  DictionaryValue(double value) : kind(Kind::real), word(std::bit_cast<std::uint64_t>(value)) {}
  DictionaryValue(const std::convertible_to<std::string_view> auto& text)
      : kind(Kind::text), bytes(text) {}
  static DictionaryValue of_bytes(std::string_view bytes) { return tagged(Kind::bytes, 0, bytes); }
  static DictionaryValue of_other(std::uint32_t tag, std::string_view bytes) {
    return tagged(Kind::other, tag, bytes);
  }

  bool has_bytes() const { return kind >= Kind::bytes; }
  bool boolean() const { return word != 0; }
  std::int64_t integer() const { return static_cast<std::int64_t>(word); }
  double real() const { return std::bit_cast<double>(word); }
  bool operator==(const DictionaryValue&) const = default;

  Kind kind = Kind::none;
  std::uint32_t tag = 0;   // of other
  std::uint64_t word = 0;  // of boolean, integer and real
  std::string_view bytes;  // of bytes, text and other

 private:
  static DictionaryValue tagged(Kind kind, std::uint32_t tag, std::string_view bytes) {
    DictionaryValue value(bytes);
    value.kind = kind;
    value.tag = tag;
    return value;
  }
};

// What a walk through all of it found.
struct DictionaryReport {
  std::uint64_t keys = 0;
  std::uint64_t buckets = 0;
  std::uint64_t longest_chain = 0;
  std::uint64_t node_bytes = 0;       // as they were asked for
  std::uint64_t discarded_nodes = 0;  // of a clear, not freed yet
  std::vector<std::string> findings;  // what is wrong
};

class alignas(64) Dictionary {
 public:
  // What a walk calls for each key: both are valid during the call. An error ends the walk.
  using Visit = std::function<Result<void>(const DictionaryKey&, const DictionaryValue&)>;
  // What one look without a lock has seen. changed: a commit was under way, look again. lost: what
  // stands there leads out of these bytes, which have grown, or it is corrupt.
  enum class Peek : std::uint8_t { found, absent, changed, lost };

  Dictionary() = default;
  // `seed`: a random number keeps others from choosing keys that fall into one bucket.
  explicit Dictionary(std::uint64_t seed) : seed_(seed) {}
  Dictionary(const Dictionary&) = delete;
  Dictionary& operator=(const Dictionary&) = delete;

  // Inside a transaction: with what it has changed itself.
  std::uint64_t size(const Transaction& tx) const { return tx.read(count_); }
  // The bytes of the value are those in the segment, as long as the transaction leaves the key.
  Result<std::optional<DictionaryValue>> get(const Transaction& tx, const DictionaryKey& key) const;
  Result<void> set(Transaction& tx, const DictionaryKey& key, const DictionaryValue& value);
  // Whether it was not there, and is now.
  Result<bool> insert(Transaction& tx, const DictionaryKey& key, const DictionaryValue& value);
  // Whether it was there.
  Result<bool> erase(Transaction& tx, const DictionaryKey& key);
  // Adds to a number, from 0 for a new key; returns the sum. Errors: invalid_argument where the
  // value is no integer, or the sum is none of 64 bits.
  Result<std::int64_t> add(Transaction& tx, const DictionaryKey& key, std::int64_t difference);
  // Makes what is `expected` (nothing: absent) what is `desired` (nothing: erased); whether it did.
  Result<bool> compare_and_set(Transaction& tx, const DictionaryKey& key,
                               const std::optional<DictionaryValue>& expected,
                               const std::optional<DictionaryValue>& desired);
  // Empty at once, however large: the nodes are freed by sweep(), a part in each transaction.
  Result<void> clear(Transaction& tx);
  bool has_discarded(const Transaction& tx) const { return tx.read(discarded_.buckets) != 0; }
  // Frees up to `max_nodes` of what clear() has left.
  Result<void> sweep(Transaction& tx, std::uint64_t max_nodes);
  Result<void> for_each(const Transaction& tx, const Visit& visit) const;

  // Without a lock or a transaction, in the payload as far as the caller knows it, in which the
  // dictionary lies. Hostile bytes give wrong answers, never a step outside. Bytes of a value are
  // copied to `room`.
  Peek peek(std::span<const std::byte> payload, const DictionaryKey& key, std::string& room,
            DictionaryValue& value) const;
  Peek peek_key(std::span<const std::byte> payload, const DictionaryKey& key) const;
  Peek peek_size(std::uint64_t& size) const;
  bool peek_discarded() const;
  // Visits what may be torn, and says afterwards whether it was: found where it was not. Errors:
  // those of `visit`; exhausted where this process has no memory for a copy.
  Result<Peek> peek_each(std::span<const std::byte> payload, const Visit& visit) const;
  // Reads every node. Exact while nobody changes it: `changed` tells.
  Peek check(std::span<const std::byte> payload, DictionaryReport& report) const;

 private:
  friend struct DictionaryWalk;
  static constexpr std::uint64_t kFirstBuckets = 16;
  static constexpr std::size_t kSegments = 39;

  // Segment 0 holds the first 16 buckets, each next one as many as all before it. A bucket is the
  // offset of its first node.
  struct Table {
    std::uint64_t buckets = 0;
    std::array<Offset<std::uint64_t>, kSegments> segments;
  };
  static_assert(sizeof(Table) == 320);

  struct Found;
  Result<Found> look_up(const Transaction& tx, const DictionaryKey& key, std::uint64_t hash) const;
  Result<void> put(Transaction& tx, const DictionaryKey& key, const Found& found,
                   const DictionaryValue& value);
  Result<void> add_node(Transaction& tx, const DictionaryKey& key, std::uint64_t hash,
                        const DictionaryValue& value);
  Result<void> remove(Transaction& tx, const Found& found);
  Result<std::uint64_t> make_node(Transaction& tx, const DictionaryKey& key, std::uint64_t hash,
                                  std::uint64_t next, const DictionaryValue& value);
  Result<void> make_segment(Transaction& tx, std::size_t index);
  Result<void> split(Transaction& tx);

  SharedWord<std::uint64_t> sequence_;  // 0: odd while a commit changes it
  std::uint64_t count_ = 0;             // 8: keys
  std::uint64_t seed_ = 0;              // 16: of the hash
  std::uint64_t swept_ = 0;             // 24: buckets of discarded_ that are empty
  std::array<std::uint64_t, 4> reserved_ = {};
  Table table_;      // 64
  Table discarded_;  // 384: what clear() took out
};
static_assert(sizeof(Dictionary) == 704);

}  // namespace strata::inline v0_1
#pragma GCC visibility pop
