// HeapResource lets std::pmr containers take their memory from a heap.
//   Threads:  any.
//   Lifetime: the Heap must outlive it, and it the containers.
//   Errors:   std::bad_alloc where memory ran out, as std::pmr expects.
//   Persists: no. std::pmr containers hold plain pointers: they are for one process, which shares
//             the bytes, not the container. For others to use a container, see containers.h.
#pragma once

#include <cstddef>
#include <memory_resource>
#include <new>

#include "strata/heap/heap.h"

#pragma GCC visibility push(default)
namespace strata::inline v0_1::heap {

class HeapResource final : public std::pmr::memory_resource {
 public:
  explicit HeapResource(Heap& heap) : heap_(heap) {}

 private:
  void* do_allocate(std::size_t bytes, std::size_t align) override {
    const auto block = heap_.allocate(bytes, align < 16 ? 16 : align);
    if (!block) throw std::bad_alloc();
    return heap_.base() + block->bytes;
  }
  void do_deallocate(void* block, std::size_t, std::size_t) override {
    (void)heap_.free(heap_.offset_of(static_cast<std::byte*>(block)));
  }
  bool do_is_equal(const std::pmr::memory_resource& other) const noexcept override {
    const auto* const same = dynamic_cast<const HeapResource*>(&other);
    return same != nullptr && &same->heap_ == &heap_;
  }

  Heap& heap_;
};

}  // namespace strata::inline v0_1::heap
#pragma GCC visibility pop
