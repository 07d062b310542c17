// A RegionAllocator divides a range of memory that it never touches: its bookkeeping is on the
// host, in this process.
//   Threads:  one at a time.
//   Lifetime: what it hands out is gone with it, and known to no other process.
//   Errors:   exhausted, with what is free; a wrong free() is a bug and ends the process.
//   Cost:     logarithmic in the number of free pieces; no system call, no call of a driver.
//   Source:   best fit with coalescing (Knuth, The Art of Computer Programming, 2.5).
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <set>
#include <unordered_map>
#include <utility>

#include "strata/base/result.h"

#pragma GCC visibility push(default)
namespace strata::inline v0_1::interop {

class RegionAllocator {
 public:
  // Of device memory, what consumers of arrays expect.
  static constexpr std::uint64_t kGranule = 256;

  // Offsets from 0 to `bytes`, of a range that begins at a multiple of every alignment asked for.
  explicit RegionAllocator(std::uint64_t bytes);

  // An offset. Alignments are powers of two; 0 bytes are one granule, so that offsets differ.
  // Errors: exhausted; invalid_argument.
  Result<std::uint64_t> allocate(std::uint64_t bytes, std::uint64_t alignment = kGranule);
  void free(std::uint64_t offset);

  std::uint64_t free_bytes() const { return free_bytes_; }
  std::uint64_t largest_free_bytes() const;
  std::size_t allocation_count() const { return taken_.size(); }

 private:
  using ByOffset = std::map<std::uint64_t, std::uint64_t>;  // offset → bytes
  void add_piece(std::uint64_t offset, std::uint64_t bytes);
  ByOffset::iterator drop_piece(ByOffset::iterator piece);

  ByOffset pieces_;
  std::set<std::pair<std::uint64_t, std::uint64_t>> by_size_;  // bytes, offset
  std::unordered_map<std::uint64_t, std::uint64_t> taken_;     // offset → bytes
  std::uint64_t free_bytes_ = 0;
};

}  // namespace strata::inline v0_1::interop
#pragma GCC visibility pop
