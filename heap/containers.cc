#include "strata/heap/containers.h"

#include "heap/heap_core.h"

namespace strata::inline v0_1::heap {

std::byte* allocate_in(const std::byte* base, std::uint64_t bytes, std::uint64_t align) {
  HeapCore* const core = HeapCore::find_open(base);
  if (core == nullptr) throw std::bad_alloc();
  const auto block = core->allocate(bytes, align);
  if (!block) throw std::bad_alloc();
  return core->base() + block->bytes;
}

void free_in(const std::byte* base, const void* block) {
  // A destructor cannot fail: what cannot be freed stays allocated, and check() counts it.
  if (HeapCore* const core = HeapCore::find_open(base)) {
    (void)core->free(static_cast<std::uint64_t>(static_cast<const std::byte*>(block) - base));
  }
}

}  // namespace strata::inline v0_1::heap
