#include "numa/page_walk.h"

#include <sys/mman.h>

#include <algorithm>

#include "numa/hugetlb.h"
#include "numa/smaps.h"
#include "os/os.h"
#include "strata/base/bytes.h"

#ifndef MADV_POPULATE_READ  // glibc before 2.35
#define MADV_POPULATE_READ 22
#endif

namespace strata::inline v0_1 {
namespace {

constexpr std::uint64_t kPresenceBytes = GiB(1);  // asked about at a time

Result<MappedStretches> look(Os& os, std::span<std::byte> range) {
  MappedStretches mapped;
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
  if (std::find(present->begin(), present->end(), false) != present->end() &&
      map_whole_hugetlb_files(os, {start, bytes})) {
    return true;
  }
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

bool map_all_present(Os& os, std::span<std::byte> range, const MappedStretches& mapped) {
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

}  // namespace

Result<MappedStretches> map_and_look(Os& os, std::span<std::byte> range) {
  STRATA_ASSIGN(MappedStretches mapped, look(os, range));
  if (map_all_present(os, range, mapped)) {
    STRATA_ASSIGN(mapped, look(os, range));
  }
  return mapped;
}

Result<void> ask_nodes(Os& os, const Stretch& stretch, const PageVisitor& visit) {
  std::vector<void*> pages;
  for (std::uint64_t at = 0; at < stretch.bytes;) {
    pages.clear();
    const std::uint64_t first = at;
    for (; at < stretch.bytes && pages.size() < kPagesPerCall; at += stretch.step_bytes)
      pages.push_back(stretch.start + at);
    STRATA_ASSIGN(const std::vector<int> nodes, os.move_pages(pages, {}, 0));
    for (std::size_t i = 0; i < nodes.size(); ++i) {
      const std::uint64_t left = stretch.bytes - first - i * stretch.step_bytes;
      if (nodes[i] >= 0) {
        visit(static_cast<std::byte*>(pages[i]), std::min(stretch.step_bytes, left), nodes[i]);
      }
    }
  }
  return {};
}

}  // namespace strata::inline v0_1
