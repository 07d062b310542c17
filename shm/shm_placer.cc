#include "shm/shm_placer.h"

#include "numa/place.h"
#include "strata/numa/placement_text.h"

namespace strata::inline v0_1 {
namespace {

// Read anew: growing and moving are rare, and attaching is not.
Result<IdentityBlock> identity_of(const HeaderPage& page) {
  return read_identity_block(std::as_bytes(std::span(&page, 1)));
}

}  // namespace

Result<void> ShmPlacer::commit(FilePayload& payload, std::span<std::byte> fresh) {
  Os& os = payload.plane().os();
  HeaderPage& page = payload.plane().page();
  STRATA_ASSIGN(const IdentityBlock identity, identity_of(page));
  // The policy has been with the object since it was made or last moved; what is left to do is to
  // commit, near to the right node, and to look at what was got.
  STRATA_ASSIGN(const Placement placement, parse_placement(placement_now(page, identity)));
  STRATA_ASSIGN(const Plan plan,
                backend_.plan(placement, fresh.size(), static_cast<PageSize>(identity.page_size)));
  STRATA_TRY(place(os, fresh, plan, {.fd = payload.fd()}));
  const auto end =
      static_cast<std::size_t>(fresh.data() + fresh.size() - payload.reserved().data());
  STRATA_ASSIGN(const PlacementReport whole, report(os, payload.reserved().first(end)));
  store(whole, page.placement);
  return {};
}

Result<PlacementReport> ShmPlacer::migrate(FilePayload& payload, const Placement& placement,
                                           std::uint64_t payload_bytes) {
  Os& os = payload.plane().os();
  STRATA_ASSIGN(const IdentityBlock identity, identity_of(payload.plane().page()));
  STRATA_ASSIGN(const Plan plan,
                backend_.plan(placement, payload_bytes, static_cast<PageSize>(identity.page_size)));
  return strata::migrate(os, payload.reserved().first(payload_bytes), plan);
}

}  // namespace strata::inline v0_1
