#include "tools/view/page_map.h"

#include <fmt/format.h>

#include <algorithm>

#include "strata/base/bytes.h"

namespace strata::inline v0_1::tools {
namespace {

constexpr std::size_t kBatchPages = 4096;
constexpr std::size_t kTextColumns = 64;

void count(PageCell& cell, int node, std::uint64_t pages) {
  const auto at =
      std::lower_bound(cell.on_node.begin(), cell.on_node.end(), node,
                       [](const NodePages& share, int wanted) { return share.node < wanted; });
  if (at != cell.on_node.end() && at->node == node) {
    at->pages += pages;
  } else {
    cell.on_node.insert(at, {.node = node, .pages = pages});
  }
}

Result<void> ask(Os& os, std::span<std::byte> payload, std::uint64_t stride, PageMap& map) {
  const std::uint64_t pages = (payload.size() + kPageBytes - 1) / kPageBytes;
  std::vector<void*> batch;
  std::vector<std::uint64_t> cell_of;
  for (std::uint64_t page = 0; page < pages; page += stride) {
    batch.push_back(payload.data() + page * kPageBytes);
    cell_of.push_back(page * kPageBytes / map.cell_bytes);
    if (batch.size() < kBatchPages && page + stride < pages) continue;
    STRATA_ASSIGN(const std::vector<int> nodes, os.move_pages(batch, {}, 0));
    for (std::size_t i = 0; i < nodes.size(); ++i) {
      PageCell& cell = map.cells[cell_of[i]];
      if (nodes[i] < 0) {
        ++cell.absent_pages;
      } else {
        count(cell, nodes[i], 1);
      }
    }
    batch.clear();
    cell_of.clear();
  }
  return {};
}

// Before Linux 6.7 the kernel tells of the sum only, which the report has.
void mark_huge(Os& os, std::span<std::byte> payload, PageMap& map) {
  const auto runs = os.scan_pages({payload.data(), align_up(payload.size(), kPageBytes)});
  if (!runs) return;
  for (const MappedRun& run : *runs) {
    if (!run.is_huge) continue;
    const auto from = static_cast<std::uint64_t>(run.start - payload.data());
    const std::uint64_t to = std::min(from + run.bytes, map.cell_bytes * map.cells.size());
    for (std::uint64_t at = from; at < to;) {
      const std::uint64_t end = std::min(to, (at / map.cell_bytes + 1) * map.cell_bytes);
      map.cells[at / map.cell_bytes].huge_bytes += end - at;
      at = end;
    }
  }
}

std::string cell_text(const PageCell& cell, const Painter& painter) {
  // Backgrounds would drown the digits; two tones are enough to see a pattern.
  if (cell.on_node.empty()) return painter.paint(Tone::dim, "·");
  if (cell.on_node.size() > 1 || cell.absent_pages != 0) return painter.paint(Tone::warning, "~");
  const int node = cell.on_node.front().node;
  static constexpr std::string_view kDigits = "0123456789abcdefghijklmnopqrstuvwxyz";
  const std::string digit(1, static_cast<std::size_t>(node) < kDigits.size()
                                 ? kDigits[static_cast<std::size_t>(node)]
                                 : '#');
  return painter.paint(node % 2 == 0 ? Tone::accent : Tone::good, digit);
}

}  // namespace

std::uint64_t PageCell::pages() const {
  std::uint64_t sum = absent_pages;
  for (const NodePages& share : on_node)
    sum += share.pages;
  return sum;
}

Result<PageMap> read_page_map(Os& os, std::span<std::byte> payload, std::size_t max_cells) {
  PageMap map;
  map.payload_bytes = payload.size();
  // First: it also maps the pages that others made, which move_pages would call absent.
  STRATA_ASSIGN(map.report, report(os, payload));
  map.cell_bytes = kPageBytes;
  while ((payload.size() + map.cell_bytes - 1) / map.cell_bytes > max_cells)
    map.cell_bytes *= 2;
  map.cells.resize((payload.size() + map.cell_bytes - 1) / map.cell_bytes);
  const std::uint64_t pages = (payload.size() + kPageBytes - 1) / kPageBytes;
  // Odd, so that it does not fall into step with an interleaving over 2, 4 or 8 nodes.
  const std::uint64_t stride = pages <= kMaxAskedPages ? 1 : (pages / kMaxAskedPages) | 1U;
  STRATA_TRY(ask(os, payload, stride, map));
  mark_huge(os, payload, map);
  return map;
}

PageMap coarsen(PageMap map, std::size_t max_cells) {
  while (map.cells.size() > max_cells) {
    std::vector<PageCell> joined((map.cells.size() + 1) / 2);
    for (std::size_t i = 0; i < map.cells.size(); ++i) {
      joined[i / 2].absent_pages += map.cells[i].absent_pages;
      joined[i / 2].huge_bytes += map.cells[i].huge_bytes;
      for (const NodePages& share : map.cells[i].on_node)
        count(joined[i / 2], share.node, share.pages);
    }
    map.cells = std::move(joined);
    map.cell_bytes *= 2;
  }
  return map;
}

std::string text_map(const PageMap& map, const Painter& painter) {
  std::string text;
  for (std::size_t from = 0; from < map.cells.size(); from += kTextColumns) {
    text += painter.paint(Tone::dim, fmt::format("{:>10}  ", format_bytes(from * map.cell_bytes)));
    for (std::size_t i = from; i < std::min(from + kTextColumns, map.cells.size()); ++i)
      text += cell_text(map.cells[i], painter);
    text += "\n";
  }
  return text;
}

}  // namespace strata::inline v0_1::tools
