// HeapMemory is what a heap needs of the memory it lives in: bytes that several processes map,
// who takes part, growth and durability. The one of a Segment is made by Heap::create and
// Heap::open; tests and other hosts may bring their own.
//   Threads:  base(), owner() and durability() any; refresh() and grow() one at a time (the heap
//             sees to it).
//   Lifetime: owned by the heap; what it refers to must outlive the heap.
#pragma once

#include <cstddef>
#include <cstdint>

#include "strata/base/result.h"
#include "strata/os/deadline.h"
#include "strata/segment/durability.h"
#include "strata/sync/owner.h"

namespace strata::inline v0_1 {
class Os;  // hidden: declared outside of the pragma
}

#pragma GCC visibility push(default)
namespace strata::inline v0_1 {

class HeapMemory {
 public:
  virtual ~HeapMemory() = default;

  // Page-aligned, max_bytes() of address space, of which the first bytes() hold memory.
  virtual std::byte* base() const = 0;
  virtual std::uint64_t bytes() const = 0;
  virtual std::uint64_t max_bytes() const = 0;
  // Null where the memory may only be read.
  virtual const Owner* owner() const = 0;
  // Changes when locks and owners of the time before mean nothing any more.
  virtual std::uint64_t generation() const = 0;
  virtual Durability& durability() const = 0;
  virtual Os& os() const = 0;

  // Sees growth by others; returns the new size.
  virtual Result<std::uint64_t> refresh() = 0;
  // Grows to `bytes`, zero filled.
  virtual Result<void> grow(std::uint64_t bytes, Deadline deadline) = 0;
};

}  // namespace strata::inline v0_1
#pragma GCC visibility pop
