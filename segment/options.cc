#include "strata/segment/options.h"

#include <string_view>

#include "strata/base/bytes.h"

namespace strata::inline v0_1 {
namespace {

std::string_view tier_name(Tier tier) {
  switch (tier) {
    case Tier::bandwidth: return "bandwidth";
    case Tier::latency: return "latency";
    case Tier::capacity: return "capacity";
  }
  return "?";
}

std::string join(const std::vector<int>& nodes, const std::vector<std::uint32_t>* weights) {
  std::string text;
  for (std::size_t i = 0; i < nodes.size(); ++i) {
    if (i != 0) text += ',';
    text += std::to_string(nodes[i]);
    if (weights != nullptr && i < weights->size()) text += '=' + std::to_string((*weights)[i]);
  }
  return text;
}

}  // namespace

std::uint64_t page_bytes_of(PageSize size) {
  switch (size) {
    case PageSize::base: return kPageBytes;
    case PageSize::thp:
    case PageSize::huge_2m: return MiB(2);
    case PageSize::huge_1g: return GiB(1);
  }
  return kPageBytes;
}

std::string_view mechanism_name(DeviceMechanism mechanism) {
  switch (mechanism) {
    case DeviceMechanism::automatic: return "automatic";
    case DeviceMechanism::vmm_fd: return "vmm-fd";
    case DeviceMechanism::legacy_ipc: return "ipc";
    case DeviceMechanism::fabric: return "fabric";
  }
  return "unknown";
}

std::string Placement::to_string() const {
  std::string text;
  switch (kind) {
    case Kind::local: text = "local"; break;
    case Kind::node: text = "node:" + join(nodes, nullptr); break;
    case Kind::preferred: text = "preferred:" + join(nodes, nullptr); break;
    case Kind::interleave: text = "interleave:" + join(nodes, nullptr); break;
    case Kind::weighted: text = "weighted:" + join(nodes, &weights); break;
    case Kind::near_pci: text = "near-pci:" + pci_address; break;
    case Kind::split: text = "split:" + join(nodes, nullptr); break;
    case Kind::tier: text = "tier:" + std::string(tier_name(tier)); break;
  }
  return is_strict ? text + '!' : text;
}

}  // namespace strata::inline v0_1
