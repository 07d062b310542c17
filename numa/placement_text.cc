#include "strata/numa/placement_text.h"

#include <charconv>
#include <string>

namespace strata::inline v0_1 {
namespace {

constexpr std::size_t kMaxListed = 1024;  // the most nodes that a kernel can have

Unexpected bad(std::string_view text, const std::string& rule) {
  return fail(Code::invalid_argument, "placement \"" + std::string(text) + "\": " + rule);
}

bool parse_whole(std::string_view text, std::uint32_t max, std::uint32_t& value) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc{} && end == text.data() + text.size() && value <= max;
}

// "0,1" or, with weights, "0=3,1=1".
Result<void> parse_nodes(std::string_view whole, std::string_view list, bool has_weights,
                         Placement& placement) {
  while (true) {
    const std::size_t comma = list.find(',');
    const std::string_view item = list.substr(0, comma);
    const std::size_t equals = item.find('=');
    std::uint32_t node = 0;
    if (!parse_whole(item.substr(0, equals), kMaxListed - 1, node)) {
      return bad(whole, "\"" + std::string(item) + "\" is no node number");
    }
    if (has_weights != (equals != std::string_view::npos)) {
      return bad(whole, has_weights ? "each node needs a weight, as in 0=3,1=1"
                                    : "only weighted placements have weights");
    }
    if (has_weights) {
      std::uint32_t weight = 0;
      if (!parse_whole(item.substr(equals + 1), 65535, weight) || weight == 0) {
        return bad(whole, "weights are from 1 to 65535");
      }
      placement.weights.push_back(weight);
    }
    placement.nodes.push_back(static_cast<int>(node));
    if (placement.nodes.size() > kMaxListed) return bad(whole, "too many nodes");
    if (comma == std::string_view::npos) return {};
    list.remove_prefix(comma + 1);
  }
}

Result<void> parse_tier(std::string_view whole, std::string_view name, Placement& placement) {
  for (const Tier tier : {Tier::bandwidth, Tier::latency, Tier::capacity}) {
    const Placement named{
        .kind = Placement::Kind::tier, .nodes = {}, .weights = {}, .pci_address = {}, .tier = tier};
    if (named.to_string() == "tier:" + std::string(name)) {
      placement.tier = tier;
      return {};
    }
  }
  return bad(whole, "the tier is one of bandwidth, latency, capacity");
}

}  // namespace

Result<Placement> parse_placement(std::string_view text) {
  using Kind = Placement::Kind;
  Placement placement;
  std::string_view rest = text;
  if (rest.ends_with('!')) {
    placement.is_strict = true;
    rest.remove_suffix(1);
  }
  if (rest == "local") return placement;
  const std::size_t colon = rest.find(':');
  const std::string_view word = rest.substr(0, colon);
  const std::string_view argument =
      colon == std::string_view::npos ? std::string_view() : rest.substr(colon + 1);
  if (word == "near-pci") {
    if (argument.empty()) return bad(text, "a PCI address is missing, as in near-pci:0000:3b:00.0");
    placement.kind = Kind::near_pci;
    placement.pci_address = std::string(argument);
    return placement;
  }
  if (word == "tier") {
    placement.kind = Kind::tier;
    STRATA_TRY(parse_tier(text, argument, placement));
    return placement;
  }
  if (word == "node") {
    placement.kind = Kind::node;
  } else if (word == "preferred") {
    placement.kind = Kind::preferred;
  } else if (word == "interleave") {
    placement.kind = Kind::interleave;
  } else if (word == "weighted") {
    placement.kind = Kind::weighted;
  } else if (word == "split") {
    placement.kind = Kind::split;
  } else {
    return bad(text,
               "one of local, node:N, preferred:N,…, interleave:N,…, weighted:N=W,…, "
               "split:N,…, near-pci:ADDRESS, tier:NAME, with ! behind it for strict");
  }
  STRATA_TRY(parse_nodes(text, argument, placement.kind == Kind::weighted, placement));
  if (placement.kind == Kind::node && placement.nodes.size() != 1) {
    return bad(text, "exactly one node, or use preferred or interleave");
  }
  return placement;
}

}  // namespace strata::inline v0_1
