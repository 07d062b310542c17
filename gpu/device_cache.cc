#include "strata/gpu/device_cache.h"

#include <utility>

#include "gpu/cuda_backend.h"

namespace strata::inline v0_1::cuda {
namespace {

std::uint64_t bytes_of(const Segment& segment) {
  const auto payload = CudaPayload::of(segment);
  return payload ? (*payload)->exported().allocation_bytes : segment.payload_bytes();
}

bool is_wanted_back(const Segment& segment) {
  const auto kind = static_cast<SegmentKind>(segment.identity().kind);
  return kind == SegmentKind::cuda &&
         device_block_of(header_page_of(segment))
                 .release_requested.value.load(std::memory_order_relaxed) != 0;
}

}  // namespace

DeviceCache::DeviceCache(Catalog& catalog, std::uint64_t limit_bytes,
                         std::shared_ptr<ReleaseListener> listener)
    : ImportCache(
          catalog,
          {.limit_bytes = limit_bytes, .bytes_of = bytes_of, .is_wanted_back = is_wanted_back}),
      listener_(std::move(listener)) {
  listener_->set([this](const SegmentUuid& uuid) { give_back(uuid); });
}

DeviceCache::~DeviceCache() { listener_->set({}); }

Result<std::unique_ptr<DeviceCache>> DeviceCache::open(Catalog& catalog,
                                                       std::uint64_t limit_bytes) {
  STRATA_ASSIGN(Backend* const backend, catalog.backend("cuda"));
  const auto* const cuda = dynamic_cast<CudaBackend*>(backend);
  if (!cuda) return fail(Code::unsupported, "its backend of 'cuda:' is another one");
  return std::unique_ptr<DeviceCache>(
      new DeviceCache(catalog, limit_bytes, cuda->release_listener()));
}

}  // namespace strata::inline v0_1::cuda
