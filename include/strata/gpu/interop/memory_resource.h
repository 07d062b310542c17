// A SegmentResource is a cuda::mr memory resource over a device segment: containers and algorithms
// of CCCL, RMM and cuDF allocate in memory that other processes have attached too. What is
// allocated belongs to this process and ends with it (strata/gpu/interop/segment_pool.h).
//
//     strata::interop::SegmentResource resource(pool);
//     cuda::device_buffer<float> scratch(stream, resource, 1024, cuda::no_init);
//
//   Threads:  any.
//   Lifetime: copies share the pool, which holds the attachment.
//   Errors:   as cuda::mr wants: std::bad_alloc where the pool is exhausted, cuda's or the
//             driver's faults alike. Deallocation never fails; what it cannot give back stays
//             taken.
//   Cost:     as SegmentPool.
// Needs CCCL 3.1 or newer (CUDA 13.1, or the package nvidia-cuda-cccl) on the include path. It is
// the one header of Strata that includes headers of CUDA, and nothing else includes it.
#pragma once

#include <cuda/std/version>

#if !defined(CCCL_VERSION) || CCCL_VERSION < 3001000
#error "gpu/interop/memory_resource.h needs CCCL 3.1 or newer: put its folder before the toolkit's"
#endif

#include <cstddef>
#include <cuda/memory_resource>
#include <cuda/stream_ref>
#include <memory>
#include <new>
#include <utility>

#include "strata/gpu/interop/segment_pool.h"

#pragma GCC visibility push(default)
namespace strata::inline v0_1::interop {

class SegmentResource {
 public:
  explicit SegmentResource(std::shared_ptr<SegmentPool> pool) : pool_(std::move(pool)) {}

  void* allocate_sync(std::size_t bytes, std::size_t alignment = RegionAllocator::kGranule) {
    const auto address = pool_->allocate(bytes, alignment);
    if (!address) throw std::bad_alloc();
    return reinterpret_cast<void*>(*address);
  }
  void deallocate_sync(void* address, std::size_t, std::size_t = 0) noexcept {
    pool_->free(reinterpret_cast<cuda::CuDevicePointer>(address));
  }

  // What is free may be used by every stream.
  void* allocate(::cuda::stream_ref, std::size_t bytes,
                 std::size_t alignment = RegionAllocator::kGranule) {
    return allocate_sync(bytes, alignment);
  }
  void deallocate(::cuda::stream_ref stream, void* address, std::size_t, std::size_t = 0) noexcept {
    (void)pool_->free_after(reinterpret_cast<cuda::CuDevicePointer>(address),
                            reinterpret_cast<cuda::CuStream>(stream.get()));
  }

  bool operator==(const SegmentResource& other) const noexcept { return pool_ == other.pool_; }

  friend void get_property(const SegmentResource&, ::cuda::mr::device_accessible) noexcept {}
#if CCCL_VERSION >= 3002000
  // What references and wrappers that name no properties of their own ask for.
  using default_queries = ::cuda::mr::properties_list<::cuda::mr::device_accessible>;
#endif

 private:
  std::shared_ptr<SegmentPool> pool_;
};

static_assert(::cuda::mr::synchronous_resource<SegmentResource>);
static_assert(::cuda::mr::resource<SegmentResource>);
static_assert(::cuda::mr::resource_with<SegmentResource, ::cuda::mr::device_accessible>);

}  // namespace strata::inline v0_1::interop
#pragma GCC visibility pop
