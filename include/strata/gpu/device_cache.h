// A DeviceCache is an ImportCache of device segments: it counts the bytes that they take on the
// device, and lets go of what nobody uses as soon as another process wants to remove it.
//
//     STRATA_ASSIGN(const auto cache, DeviceCache::open(catalog, GiB(16)));
//     STRATA_ASSIGN(const CachedSegment weights, cache->open("cuda:weights"));
//
//   Threads:  any.
//   Lifetime: the catalog outlives it. One for each catalog.
//   Errors:   open: unsupported where the catalog has no backend of device memory.
//   Cost:     as ImportCache.
#pragma once

#include <cstdint>
#include <memory>

#include "strata/base/result.h"
#include "strata/segment/import_cache.h"

#pragma GCC visibility push(default)
namespace strata::inline v0_1::cuda {

class ReleaseListener;

class DeviceCache final : public ImportCache {
 public:
  static Result<std::unique_ptr<DeviceCache>> open(Catalog& catalog, std::uint64_t limit_bytes);
  ~DeviceCache();

  using ImportCache::open;

 private:
  DeviceCache(Catalog& catalog, std::uint64_t limit_bytes,
              std::shared_ptr<ReleaseListener> listener);
  std::shared_ptr<ReleaseListener> listener_;
};

}  // namespace strata::inline v0_1::cuda
#pragma GCC visibility pop
