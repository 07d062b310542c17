// On which node the pages of a segment lie, cell by cell: what `strata map` prints and draws.
//   Threads:  a value.
//   Errors:   as numa/page_report.h.
//   Cost:     about 0.1 µs a page, for at most kMaxAskedPages pages: of larger segments a page in
//             every few is asked.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "numa/page_report.h"
#include "os/os.h"
#include "strata/base/result.h"
#include "tools/terminal/svg.h"
#include "tools/terminal/table.h"

namespace strata::inline v0_1::tools {

inline constexpr std::uint64_t kMaxAskedPages = 1 << 20;

// Equal, consecutive parts of the payload.
struct PageCell {
  std::uint64_t absent_pages = 0;
  std::uint64_t huge_bytes = 0;    // on pages above 4 KiB, where the kernel tells of single pages
  std::vector<NodePages> on_node;  // sorted by node

  std::uint64_t pages() const;
};

struct PageMap {
  std::uint64_t payload_bytes = 0;
  std::uint64_t cell_bytes = 0;
  PlacementReport report;
  std::vector<PageCell> cells;
};

// `payload` is mapped; its pages are asked about, in at most `max_cells` cells.
Result<PageMap> read_page_map(Os& os, std::span<std::byte> payload, std::size_t max_cells);

// The same with neighbouring cells joined until there are at most `max_cells`.
PageMap coarsen(PageMap map, std::size_t max_cells);

// One character a cell: the digit of its node, '~' where nodes mix, '.' where nothing is yet.
std::string text_map(const PageMap& map, const Painter& painter);

Svg draw_page_map(const PageMap& map, std::string_view uri, std::string_view asked);

}  // namespace strata::inline v0_1::tools
