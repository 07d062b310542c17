// PendingWrites remembers where a transaction's uncommitted writes stand in its log, so that the
// transaction reads what it wrote.
//   Threads:  of one thread.
//   Cost:     few writes are looked through one by one; many are found by cache line.
#pragma once

#include <boost/container/small_vector.hpp>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <unordered_map>
#include <vector>

namespace strata::inline v0_1 {

class PendingWrites {
 public:
  bool empty() const { return writes_.empty(); }
  bool may_overlap(std::uint64_t offset, std::uint64_t bytes) const {
    return offset < high_ && low_ < offset + bytes;
  }
  bool overlaps(std::uint64_t offset, std::uint64_t bytes) const;

  // The bytes at `data` of the log's buffer will be written to `offset`.
  void add(std::uint64_t offset, std::uint64_t bytes, std::byte* data);
  // Where the newest write to exactly this range has its bytes, if no later one overlaps it.
  std::byte* find(std::uint64_t offset, std::uint64_t bytes) const;
  // Puts what was written over `bytes` bytes that were read from `offset`.
  void overlay(std::byte* to, std::uint64_t offset, std::uint64_t bytes) const;

 private:
  static constexpr std::size_t kLookThrough = 16;
  static constexpr std::uint32_t kNone = ~std::uint32_t{0};
  struct Write {
    std::uint64_t offset;
    std::uint64_t bytes;
    std::byte* data;
  };
  struct Link {
    std::uint32_t write;
    std::uint32_t older;  // index of the link before it on the same line
  };
  void add_to_index(std::uint32_t write);
  static void copy(const Write& write, std::byte* to, std::uint64_t offset, std::uint64_t bytes);

  boost::container::small_vector<Write, kLookThrough> writes_;
  std::uint64_t low_ = ~std::uint64_t{0};  // of all ranges
  std::uint64_t high_ = 0;
  // Of many writes: the newest link of each cache line. Null while there are few.
  struct Index {
    std::unordered_map<std::uint64_t, std::uint32_t> lines;
    std::vector<Link> links;
  };
  std::unique_ptr<Index> index_;
};

}  // namespace strata::inline v0_1
