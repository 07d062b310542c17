#include "numa/page_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <optional>

#include "numa/page_walk.h"
#include "numa/sysfs.h"
#include "os/os.h"
#include "strata/base/bytes.h"

namespace strata::inline v0_1 {
namespace {

using PagesOnNode = std::map<int, std::uint64_t>;

// Where one node alone has memory, a page that is present is there.
std::optional<int> only_memory_node(Os& os) {
  const std::vector<int> nodes =
      parse_number_list(read_trimmed(os, "/sys/devices/system/node/has_memory"));
  if (nodes.size() != 1) return {};
  return nodes.front();
}

std::string pages_text(const std::vector<NodePages>& shares) {
  std::string text;
  for (const NodePages& share : shares)
    text += fmt::format("{}{} on node {}", text.empty() ? "" : ", ", share.pages, share.node);
  return text.empty() ? "none" : text;
}

}  // namespace

Result<PlacementReport> report(Os& os, std::span<std::byte> range) {
  PlacementReport report;
  // A mapping is whole pages, also behind a payload of odd size.
  const std::span<std::byte> pages(range.data(), align_up(range.size(), kPageBytes));
  report.pages_total = pages.size() / kPageBytes;
  STRATA_ASSIGN(const MappedStretches mapped, map_and_look(os, pages));
  report.huge_bytes = mapped.huge_bytes;
  PagesOnNode counts;
  const auto count = [&](std::byte*, std::uint64_t bytes, int node) {
    counts[node] += bytes / kPageBytes;
  };
  const auto only_node = mapped.is_exact ? only_memory_node(os) : std::nullopt;
  for (const Stretch& stretch : mapped.stretches) {
    if (only_node) {
      counts[*only_node] += stretch.bytes / kPageBytes;
    } else if (auto counted = ask_nodes(os, stretch, count); !counted) {
      return unexpected(counted.error().in("ask where pages are"));
    }
  }
  report.pages_absent = report.pages_total;
  for (const auto& [node, pages] : counts) {
    report.pages_on_node.push_back({node, pages});
    report.pages_absent -= pages;
  }
  return report;
}

Result<void> verify(const Plan& plan, const PlacementReport& report) {
  if (!plan.is_strict || plan.nodes.empty()) return {};
  std::uint64_t elsewhere = 0, known = 0;
  for (const NodePages& got : report.pages_on_node) {
    known += got.pages;
    if (std::find(plan.nodes.begin(), plan.nodes.end(), got.node) == plan.nodes.end()) {
      elsewhere += got.pages;
    }
  }
  const auto differs = [&](const std::string& why) {
    return fail(Code::failed_precondition,
                fmt::format("strict placement {}: asked for {}; got {}, {} absent of {} pages of "
                            "4 KiB",
                            why, pages_text(plan.expected), pages_text(report.pages_on_node),
                            report.pages_absent, report.pages_total));
  };
  if (elsewhere > 0) return differs(fmt::format("put {} pages on other nodes", elsewhere));
  if (known + report.pages_absent < report.pages_total) return differs("cannot be verified");
  if (report.pages_absent > 0) return {};  // the rest follows the policy when it is touched
  // Where the kernel deals pages out it starts at any node, and small pages may stand in for a
  // huge one: a share may be off by that much.
  const std::uint64_t tolerance = 2 * plan.page_bytes / kPageBytes;
  for (const NodePages& share : plan.expected) {
    const std::uint64_t got = report.pages_on(share.node);
    if (got + tolerance < share.pages || share.pages + tolerance < got) {
      return differs("is dealt out otherwise");
    }
  }
  return {};
}

}  // namespace strata::inline v0_1
