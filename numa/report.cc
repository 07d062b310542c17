#include "numa/report.h"

#include <fmt/format.h>
#include <sys/mman.h>

#include <algorithm>
#include <map>
#include <optional>

#include "base/bytes.h"
#include "numa/smaps.h"
#include "numa/sysfs.h"
#include "os/os.h"

#ifndef MADV_POPULATE_READ  // glibc before 2.35
#define MADV_POPULATE_READ 22
#endif

namespace strata {
namespace {

constexpr std::size_t kPagesPerCall = 16384;
constexpr std::uint64_t kPresenceBytes = GiB(1);  // asked about at a time

// A stretch to ask about, in steps of its page size.
struct Stretch {
  std::byte* start;
  std::uint64_t bytes;
  std::uint64_t step_bytes;
};

// What of a range is mapped here, and how.
struct Mapped {
  std::vector<Stretch> stretches;
  std::uint64_t huge_bytes = 0;
  bool is_exact = false;  // the stretches are present; else some of their pages may be absent
};

Result<Mapped> look(Os& os, std::span<std::byte> range) {
  Mapped mapped;
  if (const auto runs = os.scan_pages(range)) {
    mapped.is_exact = true;
    for (const MappedRun& run : *runs) {
      mapped.stretches.push_back({run.start, run.bytes, run.is_huge ? MiB(2) : kPageBytes});
      if (run.is_huge) mapped.huge_bytes += run.bytes;
    }
    return mapped;
  }
  STRATA_ASSIGN(const std::vector<MappedArea> areas, mapped_areas(os, range));
  for (const MappedArea& area : areas) {
    const bool is_hugetlb = area.page_bytes > kPageBytes;
    const std::uint64_t step_bytes = is_hugetlb           ? area.page_bytes
                                     : area.is_all_huge() ? MiB(2)
                                                          : kPageBytes;
    auto* start = range.data() + (area.start - reinterpret_cast<std::uintptr_t>(range.data()));
    mapped.stretches.push_back({start, area.bytes(), step_bytes});
    mapped.huge_bytes += is_hugetlb ? area.bytes() : area.pmd_bytes;
  }
  return mapped;
}

// Maps pages that exist and are not in this process's page table: the kernel tells nodes and
// sizes of mapped pages only. Reading a hole would make a page, so holes are left alone.
bool map_present(Os& os, std::byte* start, std::uint64_t bytes) {
  const auto present = os.mincore(start, bytes);
  if (!present) return false;
  bool has_mapped = false;
  for (std::size_t i = 0; i < present->size();) {
    std::size_t end = i;
    while (end < present->size() && (*present)[end])
      ++end;
    if (end > i && os.madvise(start + i * kPageBytes, (end - i) * kPageBytes, MADV_POPULATE_READ)) {
      has_mapped = true;
    }
    i = end + 1;
  }
  return has_mapped;
}

bool map_all_present(Os& os, std::span<std::byte> range, const Mapped& mapped) {
  bool has_mapped = false;
  std::byte* const end = range.data() + range.size();
  const auto map_gap = [&](std::byte* from, std::byte* to) {
    while (from < to) {
      const std::uint64_t bytes = std::min(kPresenceBytes, static_cast<std::uint64_t>(to - from));
      if (map_present(os, from, bytes)) has_mapped = true;
      from += bytes;
    }
  };
  if (!mapped.is_exact) {
    map_gap(range.data(), end);
    return has_mapped;
  }
  std::byte* done = range.data();
  for (const Stretch& stretch : mapped.stretches) {
    map_gap(done, stretch.start);
    done = stretch.start + stretch.bytes;
  }
  map_gap(done, end);
  return has_mapped;
}

using PagesOnNode = std::map<int, std::uint64_t>;

// Counts by node the pages of one stretch; those that are absent are in no count.
Result<void> count_pages(Os& os, const Stretch& stretch, PagesOnNode& counts) {
  std::vector<void*> pages;
  for (std::uint64_t at = 0; at < stretch.bytes;) {
    pages.clear();
    const std::uint64_t first = at;
    for (; at < stretch.bytes && pages.size() < kPagesPerCall; at += stretch.step_bytes)
      pages.push_back(stretch.start + at);
    STRATA_ASSIGN(const std::vector<int> nodes, os.move_pages(pages, {}, 0));
    for (std::size_t i = 0; i < nodes.size(); ++i) {
      const std::uint64_t left = stretch.bytes - first - i * stretch.step_bytes;
      if (nodes[i] >= 0) counts[nodes[i]] += std::min(stretch.step_bytes, left) / kPageBytes;
    }
  }
  return {};
}

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

std::uint64_t PlacementReport::pages_on(int node) const {
  for (const NodePages& share : pages_on_node) {
    if (share.node == node) return share.pages;
  }
  return 0;
}

Result<PlacementReport> report(Os& os, std::span<std::byte> range) {
  PlacementReport report;
  report.pages_total = align_up(range.size(), kPageBytes) / kPageBytes;
  STRATA_ASSIGN(Mapped mapped, look(os, range));
  if (map_all_present(os, range, mapped)) {
    STRATA_ASSIGN(mapped, look(os, range));
  }
  report.huge_bytes = mapped.huge_bytes;
  PagesOnNode counts;
  const auto only_node = mapped.is_exact ? only_memory_node(os) : std::nullopt;
  for (const Stretch& stretch : mapped.stretches) {
    if (only_node) {
      counts[*only_node] += stretch.bytes / kPageBytes;
    } else if (auto counted = count_pages(os, stretch, counts); !counted) {
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

}  // namespace strata
