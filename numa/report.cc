#include "numa/report.h"

#include <fmt/format.h>
#include <sys/mman.h>

#include <algorithm>
#include <map>

#include "base/bytes.h"
#include "numa/smaps.h"
#include "os/os.h"

#ifndef MADV_POPULATE_READ  // glibc before 2.35
#define MADV_POPULATE_READ 22
#endif

namespace strata {
namespace {

constexpr std::size_t kPagesPerCall = 16384;

// Asks for the nodes of the pages of one mapping, `step` bytes apart.
class Histogram {
 public:
  Histogram(Os& os, PlacementReport& report) : os_(os), report_(report) {}

  Result<void> add(std::byte* start, std::uint64_t bytes, std::uint64_t step) {
    while (bytes > 0) {
      const std::uint64_t part = std::min(bytes, kPagesPerCall * step);
      STRATA_TRY(add_chunk(start, part, step));
      start += part;
      bytes -= part;
    }
    return {};
  }

  void finish() {
    for (const auto& [node, pages] : pages_on_node_)
      report_.pages_on_node.push_back({node, pages});
  }

 private:
  Result<std::vector<int>> ask(std::byte* start, std::uint64_t bytes, std::uint64_t step) {
    pages_.clear();
    for (std::uint64_t at = 0; at < bytes; at += step)
      pages_.push_back(start + at);
    return os_.move_pages(pages_, {}, 0);
  }

  Result<void> add_chunk(std::byte* start, std::uint64_t bytes, std::uint64_t step) {
    STRATA_ASSIGN(std::vector<int> nodes, ask(start, bytes, step));
    const auto is_absent = [](int node) { return node < 0; };
    if (std::any_of(nodes.begin(), nodes.end(), is_absent) &&
        map_present(start, bytes, step, nodes)) {
      STRATA_ASSIGN(nodes, ask(start, bytes, step));
    }
    for (std::size_t i = 0; i < nodes.size(); ++i) {
      const std::uint64_t pages = std::min(step, bytes - i * step) / kPageBytes;
      if (nodes[i] < 0) {
        report_.pages_absent += pages;
      } else {
        pages_on_node_[nodes[i]] += pages;
      }
    }
    return {};
  }

  // move_pages knows only pages in this process's page table. Those that exist and are not
  // there yet are mapped; reading a hole would make a page, so holes are left alone.
  bool map_present(std::byte* start, std::uint64_t bytes, std::uint64_t step,
                   const std::vector<int>& nodes) {
    const auto present = os_.mincore(start, bytes);
    if (!present) return false;
    bool has_mapped = false;
    const auto wanted = [&](std::size_t i) {
      return nodes[i] < 0 && (*present)[i * (step / kPageBytes)];
    };
    for (std::size_t i = 0; i < nodes.size();) {
      std::size_t end = i;
      while (end < nodes.size() && wanted(end))
        ++end;
      if (end > i) {
        const std::uint64_t run_bytes = std::min(end * step, bytes) - i * step;
        if (os_.madvise(start + i * step, run_bytes, MADV_POPULATE_READ)) has_mapped = true;
      }
      i = end + 1;
    }
    return has_mapped;
  }

  Os& os_;
  PlacementReport& report_;
  std::vector<void*> pages_;
  std::map<int, std::uint64_t> pages_on_node_;
};

std::uint64_t huge_bytes_of(const std::vector<MappedArea>& areas) {
  std::uint64_t bytes = 0;
  for (const MappedArea& area : areas)
    bytes += area.page_bytes > kPageBytes ? area.bytes() : area.pmd_bytes;
  return bytes;
}

std::string pages_text(const std::vector<NodePages>& shares) {
  std::string text;
  for (const NodePages& share : shares)
    text += fmt::format("{}{} on node {}", text.empty() ? "" : ", ", share.pages, share.node);
  return text.empty() ? "none" : text;
}

}  // namespace

std::uint64_t PlacementReport::pages_on(int node) const {
  for (const NodePages& share : pages_on_node) {
    if (share.node == node) return share.pages;
  }
  return 0;
}

Result<PlacementReport> report(Os& os, std::span<std::byte> range) {
  PlacementReport report;
  report.pages_total = range.size() / kPageBytes;
  Histogram histogram(os, report);
  auto areas = mapped_areas(os, range);
  if (!areas) {
    report.notes.push_back("page sizes are not known: " + areas.error().message());
    STRATA_TRY(histogram.add(range.data(), range.size(), kPageBytes).map_error([](Status status) {
      return status.in("ask where pages are");
    }));
    histogram.finish();
    return report;
  }
  for (const MappedArea& area : *areas) {
    const std::uint64_t step = area.page_bytes > kPageBytes ? area.page_bytes
                               : area.is_all_huge()         ? MiB(2)
                                                            : kPageBytes;
    auto* start = range.data() + (area.start - reinterpret_cast<std::uintptr_t>(range.data()));
    STRATA_TRY(histogram.add(start, area.bytes(), step).map_error([](Status status) {
      return status.in("ask where pages are");
    }));
  }
  histogram.finish();
  report.huge_bytes = huge_bytes_of(*areas);
  // Mapping pages that were there already may have mapped them as huge ones.
  if (report.huge_bytes == 0 && report.pages_total >= MiB(2) / kPageBytes) {
    if (const auto again = mapped_areas(os, range)) report.huge_bytes = huge_bytes_of(*again);
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

}  // namespace strata
