// Immutable typed lists: big read-only data that many processes read in place, with no copy, no
// pointer and no reference count. A list is one stretch of bytes, in a heap's block, as the whole
// of a sealed segment, or in any other span; docs/format/list.md is the contract.
//
//     std::vector<std::byte> bytes(StringList::bytes_for(words));
//     STRATA_TRY(StringList::write(bytes, words));
//     STRATA_ASSIGN(StringList list, StringList::open(bytes));
//     std::string_view third = list[2];
//
//   Threads:  any number of readers; written by one, before anybody reads.
//   Lifetime: a view; the bytes must outlive it.
//   Errors:   open: corrupt, unsupported (another kind or version). What it returns never leaves
//             the span, even if the bytes are damaged later; check() also looks at every item.
//   Cost:     open looks at the head alone; items are read where they lie.
//   Persists: its bytes, no more.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>

#include "strata/base/bytes.h"
#include "strata/base/result.h"

#pragma GCC visibility push(default)
namespace strata::inline v0_1 {

enum class ListKind : std::uint32_t { int64 = 1, float64 = 2, bytes = 3, utf8 = 4, bits = 5 };

inline constexpr std::uint32_t kListVersion = 1;

struct ListHead {
  char magic[8];  // "STRALIST"
  std::uint32_t version;
  std::uint32_t kind;           // ListKind
  std::uint64_t count;          // items
  std::uint64_t payload_bytes;  // exactly, without the padding behind it
  std::uint8_t reserved[28];
  std::uint32_t crc32c;  // of the bytes before it
};
static_assert(sizeof(ListHead) == 64);

namespace list_internal {

// Checks the head, and that all of the list is in `bytes`.
Result<ListHead> read_head(std::span<const std::byte> bytes, ListKind kind);
Result<void> write_head(std::span<std::byte> to, ListKind kind, std::uint64_t count,
                        std::uint64_t payload_bytes, std::uint64_t total_bytes);

}  // namespace list_internal

// Of std::int64_t or double.
template <typename T, ListKind kKind>
class NumberList {
 public:
  static std::uint64_t bytes_for(std::uint64_t count) {
    return sizeof(ListHead) + count * sizeof(T);
  }
  // Errors: exhausted where `to` is smaller than bytes_for(count).
  static Result<void> write(std::span<std::byte> to, std::span<const T> values) {
    STRATA_TRY(list_internal::write_head(to, kKind, values.size(), values.size_bytes(),
                                         bytes_for(values.size())));
    if (!values.empty())
      std::memcpy(to.data() + sizeof(ListHead), values.data(), values.size_bytes());
    return {};
  }
  static Result<NumberList> open(std::span<const std::byte> bytes) {
    STRATA_ASSIGN(const ListHead head, list_internal::read_head(bytes, kKind));
    return NumberList({reinterpret_cast<const T*>(bytes.data() + sizeof(ListHead)), head.count});
  }

  std::uint64_t size() const { return values_.size(); }
  T operator[](std::uint64_t index) const { return values_[index]; }
  std::span<const T> values() const { return values_; }

 private:
  explicit NumberList(std::span<const T> values) : values_(values) {}
  std::span<const T> values_;
};
using Int64List = NumberList<std::int64_t, ListKind::int64>;
using Float64List = NumberList<double, ListKind::float64>;

// Of byte strings of any length; StringList also promises UTF-8.
class BytesList {
 public:
  static std::uint64_t bytes_for(std::span<const std::string_view> items);
  static Result<void> write(std::span<std::byte> to, std::span<const std::string_view> items);
  static Result<BytesList> open(std::span<const std::byte> bytes);

  std::uint64_t size() const { return count_; }
  // Requires index < size(). Damaged offsets give a shorter item, never one outside the list.
  std::string_view operator[](std::uint64_t index) const {
    const std::uint64_t begin = offset(index), end = offset(index + 1);
    if (begin > end || end > payload_bytes_) [[unlikely]]
      return {};
    return {payload_ + begin, end - begin};
  }
  // Every item. Errors: corrupt, with its number.
  Result<void> check() const;

 protected:
  static Result<void> write_as(ListKind kind, std::span<std::byte> to,
                               std::span<const std::string_view> items);
  static Result<BytesList> open_as(ListKind kind, std::span<const std::byte> bytes);

 private:
  BytesList(const std::byte* offsets, std::uint64_t count, std::uint64_t payload_bytes)
      : offsets_(offsets),
        payload_(reinterpret_cast<const char*>(offsets + (count + 1) * sizeof(std::uint64_t))),
        count_(count),
        payload_bytes_(payload_bytes) {}
  std::uint64_t offset(std::uint64_t index) const {
    std::uint64_t value;
    std::memcpy(&value, offsets_ + index * sizeof(value), sizeof(value));
    return value;
  }
  const std::byte* offsets_;  // count + 1 of them; the last is the payload's size
  const char* payload_;
  std::uint64_t count_;
  std::uint64_t payload_bytes_;
};

class StringList final : public BytesList {
 public:
  // Errors: as BytesList; invalid_argument for what is not UTF-8, with the item's number.
  static Result<void> write(std::span<std::byte> to, std::span<const std::string_view> items);
  static Result<StringList> open(std::span<const std::byte> bytes);
  // Also that each item is UTF-8.
  Result<void> check() const;

 private:
  explicit StringList(BytesList list) : BytesList(list) {}
};

class BitList {
 public:
  static std::uint64_t bytes_for(std::uint64_t count) {
    return sizeof(ListHead) + (count / 64 + (count % 64 != 0)) * 8;
  }
  // Bit i of the list is bit i % 64 of words[i / 64]; bits behind the last are not taken over.
  static Result<void> write(std::span<std::byte> to, std::span<const std::uint64_t> words,
                            std::uint64_t count);
  static Result<BitList> open(std::span<const std::byte> bytes);

  std::uint64_t size() const { return count_; }
  // Requires index < size().
  bool operator[](std::uint64_t index) const { return words_[index / 64] >> (index % 64) & 1; }
  std::span<const std::uint64_t> words() const { return words_; }
  std::uint64_t count_set() const;

 private:
  BitList(std::span<const std::uint64_t> words, std::uint64_t count)
      : words_(words), count_(count) {}
  std::span<const std::uint64_t> words_;
  std::uint64_t count_;
};

// RFC 3629: no overlong forms, no surrogates, nothing above U+10FFFF.
bool is_utf8(std::string_view text);

}  // namespace strata::inline v0_1
#pragma GCC visibility pop
