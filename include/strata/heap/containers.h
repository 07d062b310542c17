// Containers inside a heap: those of Boost, over an allocator that hands out self-relative
// pointers, so that every process can use them wherever it maps the segment.
//
//     using Numbers = heap::Vector<std::uint64_t>;
//     Numbers* numbers = memory.make<Numbers>("numbers", heap::Allocator<int>(memory)).value();
//     numbers->push_back(42);
//
//   Threads:  as Boost's: readers together, a writer alone. Guard them by a lock in the segment.
//   Lifetime: the Heap that made a container may be closed; the segment has to stay mapped, and
//             whoever changes the container has to have a Heap open on it (opened from the same
//             mapping). A container must not leave its heap: an OffsetPtr is only valid within the
//             mapping that it lies in.
//   Errors:   std::bad_alloc where memory ran out, as these containers expect; also where no Heap
//             is open on the mapping.
//   Cost:     a pointer is one addition; an allocation is Heap::allocate.
//   Persists: as the heap. A process killed within a change of a container leaves it half-changed:
//             use transactions where that may happen.
#pragma once

#include <boost/container/map.hpp>
#include <boost/container/string.hpp>
#include <boost/container/vector.hpp>
#include <boost/interprocess/offset_ptr.hpp>
#include <boost/unordered_map.hpp>
#include <cstddef>
#include <functional>
#include <new>
#include <utility>

#include "strata/heap/heap.h"

#pragma GCC visibility push(default)
namespace strata::inline v0_1::heap {

// Self-relative: it holds the distance to what it points to, and works in every mapping. It has to
// lie in the same segment as its target, or be used in the process that made it alone.
template <typename T>
using OffsetPtr = boost::interprocess::offset_ptr<T>;

// For Allocator: a block of the heap that this process has open (one of 256 at most) over the
// mapping that begins at `base`.
std::byte* allocate_in(const std::byte* base, std::uint64_t bytes, std::uint64_t align);
void free_in(const std::byte* base, const void* block);

// A standard allocator over one heap. It holds where the heap's mapping begins, self-relative, so
// that a copy of it may stand inside a container in the segment.
template <typename T>
class Allocator {
 public:
  using value_type = T;
  using pointer = OffsetPtr<T>;
  using const_pointer = OffsetPtr<const T>;
  using void_pointer = OffsetPtr<void>;
  using const_void_pointer = OffsetPtr<const void>;
  using difference_type = std::ptrdiff_t;
  using size_type = std::size_t;
  template <typename U>
  struct rebind {
    using other = Allocator<U>;
  };

  explicit Allocator(const Heap& heap) : base_(heap.base()) {}
  template <typename U>
  Allocator(const Allocator<U>& other) : base_(other.base()) {}

  pointer allocate(size_type count) {
    if (count > max_size()) throw std::bad_alloc();
    return pointer(reinterpret_cast<T*>(
        allocate_in(base_.get(), count * sizeof(T), alignof(T) < 16 ? 16 : alignof(T))));
  }
  void deallocate(pointer block, size_type) { free_in(base_.get(), block.get()); }
  size_type max_size() const { return ~size_type{0} / 2 / sizeof(T); }

  const std::byte* base() const { return base_.get(); }
  template <typename U>
  bool operator==(const Allocator<U>& other) const {
    return base() == other.base();
  }
  template <typename U>
  bool operator!=(const Allocator<U>& other) const {
    return base() != other.base();
  }

 private:
  OffsetPtr<const std::byte> base_;
};

template <typename T>
using Vector = boost::container::vector<T, Allocator<T>>;
using String = boost::container::basic_string<char, std::char_traits<char>, Allocator<char>>;
template <typename Key, typename T, typename Less = std::less<Key>>
using Map = boost::container::map<Key, T, Less, Allocator<std::pair<const Key, T>>>;
template <typename Key, typename T, typename Hash = boost::hash<Key>,
          typename Equal = std::equal_to<Key>>
using HashMap = boost::unordered_map<Key, T, Hash, Equal, Allocator<std::pair<const Key, T>>>;

}  // namespace strata::inline v0_1::heap
#pragma GCC visibility pop
