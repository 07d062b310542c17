#include <fmt/format.h>

#include <algorithm>
#include <string>
#include <vector>

#include "strata/base/bytes.h"
#include "tools/view/page_map.h"

namespace strata::inline v0_1::tools {
namespace {

constexpr double kMargin = 24;
constexpr double kAxisWidth = 76;
constexpr double kPitch = 12;
constexpr double kTop = 108;
constexpr double kStripHeight = 16;
constexpr const char* kAbsent = "#e9edf2";
constexpr const char* kHuge = "#46566b";
constexpr const char* kSmall = "#b9c4d0";

std::size_t columns_of(const PageMap& map) {
  for (const std::size_t columns : {16UL, 32UL})
    if (map.cells.size() <= columns * columns / 2) return columns;
  return 64;
}

std::string cell_hint(const PageMap& map, std::size_t index) {
  const PageCell& cell = map.cells[index];
  std::string text = format_bytes(index * map.cell_bytes) + ":";
  for (const NodePages& share : cell.on_node)
    text += fmt::format(" {} pages on node {}", share.pages, share.node);
  if (cell.absent_pages != 0) text += fmt::format(" {} not in memory", cell.absent_pages);
  if (cell.huge_bytes != 0) text += fmt::format(" {} on huge pages", format_bytes(cell.huge_bytes));
  return text;
}

bool is_huge(const PageMap& map, std::size_t index) {
  return map.cells[index].huge_bytes * 2 > map.cell_bytes;
}

// A cell whose pages lie on several nodes is split from left to right in their proportion.
void draw_cell(Svg& svg, const Box& box, const PageMap& map, std::size_t index) {
  const PageCell& cell = map.cells[index];
  svg.rect(box, {.fill = kAbsent, .stroke = "none", .corner_radius = 1.5}, cell_hint(map, index));
  const auto pages = static_cast<double>(std::max<std::uint64_t>(cell.pages(), 1));
  double x = box.x;
  for (const NodePages& share : cell.on_node) {
    const double width = box.width * static_cast<double>(share.pages) / pages;
    svg.rect({.x = x, .y = box.y, .width = width, .height = box.height},
             {.fill = node_colour(share.node),
              .stroke = "none",
              .corner_radius = cell.on_node.size() == 1 ? 1.5 : 0},
             cell_hint(map, index));
    x += width;
  }
}

void draw_grid(Svg& svg, const PageMap& map, std::size_t columns) {
  for (std::size_t i = 0; i < map.cells.size(); ++i) {
    const std::size_t row = i / columns;
    const double y = kTop + static_cast<double>(row) * kPitch;
    if (i % columns == 0 && row % 4 == 0) {
      svg.text({kMargin + kAxisWidth - 10, y + 9}, format_bytes(i * map.cell_bytes),
               {.size = 11, .fill = kFaintInk, .anchor = "end"});
    }
    draw_cell(svg,
              {.x = kMargin + kAxisWidth + static_cast<double>(i % columns) * kPitch,
               .y = y,
               // Squares on huge pages touch, so that these show as bars.
               .width = is_huge(map, i) ? kPitch : kPitch - 2,
               .height = kPitch - 2},
              map, i);
  }
}

struct Part {
  std::string fill;
  std::string label;
  std::uint64_t bytes;
};

double draw_strip(Svg& svg, const Box& area, std::string_view name,
                  const std::vector<Part>& parts) {
  std::uint64_t total = 0;
  for (const Part& part : parts)
    total += part.bytes;
  if (total == 0) return 0;
  svg.text({area.x + kAxisWidth - 10, area.y + 13}, name,
           {.size = 12, .fill = kFaintInk, .anchor = "end"});
  std::vector<LegendEntry> legend;
  double x = area.x + kAxisWidth;
  for (const Part& part : parts) {
    if (part.bytes == 0) continue;
    const double share = static_cast<double>(part.bytes) / static_cast<double>(total);
    const double width = (area.width - kAxisWidth) * share;
    const std::string label =
        fmt::format("{}: {}, {:.3g}%", part.label, format_bytes(part.bytes), share * 100);
    svg.rect({.x = x, .y = area.y, .width = std::max(width - 1, 1.0), .height = kStripHeight},
             {.fill = part.fill, .stroke = "none", .corner_radius = 2}, label);
    legend.push_back({part.fill, label});
    x += width;
  }
  return kStripHeight + 10 +
         draw_legend(svg, {area.x + kAxisWidth, area.y + kStripHeight + 8}, area.width - kAxisWidth,
                     legend) +
         12;
}

std::vector<Part> parts_by_node(const PageMap& map) {
  std::vector<Part> parts;
  for (const NodePages& share : map.report.pages_on_node) {
    parts.push_back(
        {node_colour(share.node), fmt::format("node {}", share.node), share.pages * kPageBytes});
  }
  parts.push_back({kAbsent, "not in memory", map.report.pages_absent * kPageBytes});
  return parts;
}

std::vector<Part> parts_by_page_size(const PageMap& map) {
  const std::uint64_t present = (map.report.pages_total - map.report.pages_absent) * kPageBytes;
  const std::uint64_t huge = std::min(map.report.huge_bytes, present);
  return {{kHuge, "on huge pages", huge}, {kSmall, "on 4 KiB pages", present - huge}};
}

}  // namespace

Svg draw_page_map(const PageMap& map, std::string_view uri, std::string_view asked) {
  const std::size_t columns = columns_of(map);
  const std::size_t rows = (map.cells.size() + columns - 1) / columns;
  const double width =
      std::max(560.0, 2 * kMargin + kAxisWidth + static_cast<double>(columns) * kPitch);
  const double strips_top = kTop + static_cast<double>(rows) * kPitch + 20;
  // Two strips with one or two lines of legend each.
  const double nodes_in_line = std::max(1.0, (width - kAxisWidth - 2 * kMargin) / 190);
  const double legend_lines =
      2 + static_cast<double>(map.report.pages_on_node.size()) / nodes_in_line;
  const double height = strips_top + 2 * (kStripHeight + 22) + legend_lines * 22 + kMargin;

  Svg svg(width, height);
  svg.title(uri, fmt::format("{}, asked for {}", format_bytes(map.payload_bytes), asked));
  svg.text({kMargin + kAxisWidth, 92},
           fmt::format("one square is {}, from left to right and from top to bottom{}",
                       format_bytes(map.cell_bytes),
                       map.report.huge_bytes != 0 ? "; squares on huge pages touch" : ""),
           {.size = 12, .fill = kFaintInk});
  draw_grid(svg, map, columns);
  Box area{.x = kMargin, .y = strips_top, .width = width - 2 * kMargin, .height = 0};
  area.y += draw_strip(svg, area, "by node", parts_by_node(map));
  draw_strip(svg, area, "by page", parts_by_page_size(map));
  return svg;
}

}  // namespace strata::inline v0_1::tools
