#include "c/catalog_options.h"

#include <cstring>

#include "c/boundary.h"

namespace strata::inline v0_1::c {
namespace {

constexpr std::uint64_t kAttachTimeoutMs = 1000;
constexpr std::size_t kMaxNodes = 1024;

template <typename T, typename U>
constexpr bool is_same_value(T ours, U of_c) {
  return static_cast<std::uint32_t>(ours) == static_cast<std::uint32_t>(of_c);
}
static_assert(is_same_value(Lifetime::process, STRATA_LIFETIME_PROCESS));
static_assert(is_same_value(Lifetime::last_detach, STRATA_LIFETIME_LAST_DETACH));
static_assert(is_same_value(Lifetime::job, STRATA_LIFETIME_JOB));
static_assert(is_same_value(Lifetime::until_removed, STRATA_LIFETIME_UNTIL_REMOVED));
static_assert(is_same_value(PageSize::base, STRATA_PAGE_BASE));
static_assert(is_same_value(PageSize::thp, STRATA_PAGE_THP));
static_assert(is_same_value(PageSize::huge_2m, STRATA_PAGE_HUGE_2M));
static_assert(is_same_value(PageSize::huge_1g, STRATA_PAGE_HUGE_1G));
static_assert(is_same_value(Commit::up_front, STRATA_COMMIT_UP_FRONT));
static_assert(is_same_value(Commit::sparse, STRATA_COMMIT_SPARSE));
static_assert(is_same_value(Publish::at_once, STRATA_PUBLISH_AT_ONCE));
static_assert(is_same_value(Publish::by_creator, STRATA_PUBLISH_BY_CREATOR));
static_assert(is_same_value(Placement::Kind::local, STRATA_PLACE_LOCAL));
static_assert(is_same_value(Placement::Kind::node, STRATA_PLACE_NODE));
static_assert(is_same_value(Placement::Kind::preferred, STRATA_PLACE_PREFERRED));
static_assert(is_same_value(Placement::Kind::interleave, STRATA_PLACE_INTERLEAVE));
static_assert(is_same_value(Placement::Kind::weighted, STRATA_PLACE_WEIGHTED));
static_assert(is_same_value(Placement::Kind::near_pci, STRATA_PLACE_NEAR_PCI));
static_assert(is_same_value(Placement::Kind::tier, STRATA_PLACE_TIER));
static_assert(is_same_value(Placement::Kind::split, STRATA_PLACE_SPLIT));
static_assert(is_same_value(Tier::bandwidth, STRATA_TIER_BANDWIDTH));
static_assert(is_same_value(Tier::latency, STRATA_TIER_LATENCY));
static_assert(is_same_value(Tier::capacity, STRATA_TIER_CAPACITY));
static_assert(is_same_value(Access::read_only, STRATA_READ_ONLY));
static_assert(is_same_value(Access::read_write, STRATA_READ_WRITE));
static_assert(is_same_value(Access::copy_on_write, STRATA_COPY_ON_WRITE));
static_assert(is_same_value(DeviceMechanism::automatic, STRATA_MECHANISM_AUTOMATIC));
static_assert(is_same_value(DeviceMechanism::vmm_fd, STRATA_MECHANISM_VMM_FD));
static_assert(is_same_value(DeviceMechanism::legacy_ipc, STRATA_MECHANISM_LEGACY_IPC));
static_assert(is_same_value(DeviceMechanism::fabric, STRATA_MECHANISM_FABRIC));

}  // namespace

Result<Placement> placement_of(const strata_placement* given) {
  STRATA_ASSIGN(const strata_placement from, read_options(given, "placement"));
  Placement placement;
  STRATA_ASSIGN(placement.kind,
                enumerator(from.kind, Placement::Kind::local, Placement::Kind::split, "kind"));
  STRATA_ASSIGN(placement.tier, enumerator(from.tier, Tier::bandwidth, Tier::capacity, "tier"));
  if (from.node_count > kMaxNodes) return is_too_large("node_count", from.node_count);
  if (from.node_count != 0) {
    STRATA_TRY(check_pointer(from.nodes, "nodes"));
    placement.nodes.assign(from.nodes, from.nodes + from.node_count);
  }
  if (from.node_count != 0 && placement.kind == Placement::Kind::weighted) {
    STRATA_TRY(check_pointer(from.weights, "weights"));
    placement.weights.assign(from.weights, from.weights + from.node_count);
  }
  placement.pci_address = text_or_empty(from.pci_address);
  placement.is_strict = from.is_strict != 0;
  return placement;
}

Result<Content> content_of(const strata_content* given) {
  static_assert(kMaxDimensions == STRATA_MAX_DIMENSIONS);
  STRATA_ASSIGN(const strata_content from, read_options(given, "content"));
  if (from.dimensions > kMaxDimensions) return is_too_large("dimensions", from.dimensions);
  // One without an end is longer than any that is taken.
  return Content{.type = std::string(from.type, strnlen(from.type, sizeof from.type)),
                 .element = std::string(from.element, strnlen(from.element, sizeof from.element)),
                 .shape = {from.shape, from.shape + from.dimensions}};
}

Result<CreateOptions> create_options_of(const strata_create_options* given) {
  STRATA_ASSIGN(const strata_create_options from, read_options(given, "options"));
  CreateOptions options;
  options.payload_bytes = from.payload_bytes;
  options.max_bytes = from.max_bytes;
  STRATA_ASSIGN(options.placement, placement_of(from.placement));
  STRATA_ASSIGN(options.page_size,
                enumerator(from.page_size, PageSize::base, PageSize::huge_1g, "page_size"));
  STRATA_ASSIGN(options.commit,
                enumerator(from.commit, Commit::up_front, Commit::sparse, "commit"));
  STRATA_ASSIGN(options.publish,
                enumerator(from.publish, Publish::at_once, Publish::by_creator, "publish"));
  if (from.lifetime != STRATA_LIFETIME_DEFAULT) {
    STRATA_ASSIGN(options.lifetime, enumerator(from.lifetime, Lifetime::until_removed,
                                               Lifetime::until_removed, "lifetime"));
  }
  if (from.mode != 0) options.mode = from.mode;
  options.job_id = text_or_empty(from.job_id);
  options.device.device = text_or_empty(from.device);
  STRATA_ASSIGN(options.device.mechanism,
                enumerator(from.device_mechanism, DeviceMechanism::automatic,
                           DeviceMechanism::fabric, "device_mechanism"));
  options.device.is_filled_by_creator = from.is_filled_by_creator != 0;
  STRATA_ASSIGN(options.content, content_of(from.content));
  return options;
}

Result<AttachOptions> attach_options_of(const strata_attach_options* given) {
  STRATA_ASSIGN(const strata_attach_options from, read_options(given, "options"));
  AttachOptions options;
  STRATA_ASSIGN(options.access,
                enumerator(from.access, Access::read_write, Access::copy_on_write, "access"));
  options.populate = from.populate != 0;
  options.device = text_or_empty(from.device);
  options.timeout_ms = kAttachTimeoutMs;
  if (from.timeout_ms > 0) options.timeout_ms = static_cast<std::uint64_t>(from.timeout_ms);
  if (from.timeout_ms < 0) options.timeout_ms = 0;
  return options;
}

}  // namespace strata::inline v0_1::c
