#include "tools/view/heap_picture.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "strata/base/bytes.h"

namespace strata::inline v0_1::tools {
namespace {

constexpr double kMargin = 24;
constexpr double kAxisWidth = 84;
constexpr double kPitch = 12;
constexpr double kTop = 88;
constexpr double kBarHeight = 20;
constexpr std::size_t kColumns = 64;
constexpr std::size_t kMaxCells = 2048;
constexpr std::uint8_t kTables = 255;
constexpr const char* kFree = "#e9edf2";
constexpr const char* kTableFill = "#46566b";

// From pale to the colour of node 0 as a unit fills up.
std::string shade(double percent) {
  const double share = std::clamp(percent / 100, 0.0, 1.0);
  const auto mix = [share](int pale, int full) {
    return static_cast<int>(std::lround(pale + share * (full - pale)));
  };
  return fmt::format("#{:02x}{:02x}{:02x}", mix(205, 28), mix(224, 99), mix(240, 161));
}

struct Cells {
  std::vector<double> fill;  // percent; negative: free; over 100: tables
  std::size_t units_each = 1;
};

Cells gather(const std::vector<std::uint8_t>& units) {
  Cells cells;
  while (units.size() / cells.units_each > kMaxCells)
    cells.units_each *= 2;
  for (std::size_t from = 0; from < units.size(); from += cells.units_each) {
    const std::size_t to = std::min(from + cells.units_each, units.size());
    double sum = 0;
    std::size_t used = 0;
    std::size_t tables = 0;
    for (std::size_t i = from; i < to; ++i) {
      tables += units[i] == kTables ? 1 : 0;
      if (units[i] == 0 || units[i] == kTables) continue;
      ++used;
      sum += units[i];
    }
    if (used > 0) {
      cells.fill.push_back(sum / static_cast<double>(to - from));
    } else {
      cells.fill.push_back(tables > 0 ? 200 : -1);
    }
  }
  return cells;
}

std::string fill_of(double percent) {
  if (percent < 0) return kFree;
  return percent > 100 ? kTableFill : shade(percent);
}

std::string class_name(const HeapUsage::Class& entry) {
  return entry.block_bytes == 0 ? "large" : format_bytes(entry.block_bytes);
}

// One bar a size class: how much memory its spans take, and how much of that is in use.
void draw_classes(Svg& svg, Point at, double width, const HeapUsage& usage) {
  std::uint64_t most = 1;
  for (const HeapUsage::Class& entry : usage.classes)
    most = std::max({most, entry.blocks * entry.block_bytes, entry.allocated_bytes});
  svg.text({at.x, at.y}, "Blocks by size", {.size = 15, .is_bold = true});
  double y = at.y + 14;
  for (const HeapUsage::Class& entry : usage.classes) {
    const auto whole =
        static_cast<double>(std::max(entry.blocks * entry.block_bytes, entry.allocated_bytes));
    const double scale = (width - kAxisWidth - 230) / static_cast<double>(most);
    const double x = at.x + kAxisWidth;
    svg.text({x - 10, y + 13}, class_name(entry), {.size = 12, .fill = kFaintInk, .anchor = "end"});
    svg.rect({.x = x, .y = y, .width = std::max(whole * scale, 2.0), .height = kBarHeight - 6},
             {.fill = kFree, .stroke = "none", .corner_radius = 2});
    svg.rect({.x = x,
              .y = y,
              .width = std::max(static_cast<double>(entry.allocated_bytes) * scale, 1.0),
              .height = kBarHeight - 6},
             {.fill = shade(100), .stroke = "none", .corner_radius = 2});
    svg.text({x + whole * scale + 10, y + 12},
             fmt::format("{} of {} blocks, {}", entry.allocated_blocks, entry.blocks,
                         format_bytes(entry.allocated_bytes)),
             {.size = 12});
    y += kBarHeight;
  }
}

}  // namespace

Svg draw_heap(const HeapUsage& usage, std::string_view uri) {
  const Cells cells = gather(usage.unit_fill);
  const std::size_t rows = (cells.fill.size() + kColumns - 1) / kColumns;
  const double width = 2 * kMargin + kAxisWidth + static_cast<double>(kColumns) * kPitch;
  const double legend_top = kTop + static_cast<double>(rows) * kPitch + 16;
  const double classes_top = legend_top + 56;
  const double height =
      classes_top + 20 + static_cast<double>(usage.classes.size()) * kBarHeight + kMargin;
  const std::uint64_t unit_bytes =
      usage.unit_fill.empty() ? 0 : usage.payload_bytes / usage.unit_fill.size();

  Svg svg(width, height);
  svg.title(uri, fmt::format("heap: {} allocated in {} of spans, {:.0f}% of them used; {} free; "
                             "{} named objects",
                             format_bytes(usage.allocated_bytes), format_bytes(usage.span_bytes),
                             usage.space_used_well() * 100, format_bytes(usage.free_unit_bytes),
                             usage.names));
  for (std::size_t i = 0; i < cells.fill.size(); ++i) {
    const std::size_t row = i / kColumns;
    const double y = kTop + static_cast<double>(row) * kPitch;
    if (i % kColumns == 0 && row % 4 == 0) {
      svg.text({kMargin + kAxisWidth - 10, y + 9}, format_bytes(i * cells.units_each * unit_bytes),
               {.size = 11, .fill = kFaintInk, .anchor = "end"});
    }
    svg.rect({.x = kMargin + kAxisWidth + static_cast<double>(i % kColumns) * kPitch,
              .y = y,
              .width = kPitch - 2,
              .height = kPitch - 2},
             {.fill = fill_of(cells.fill[i]), .stroke = "none", .corner_radius = 1.5});
  }
  draw_legend(svg, {kMargin + kAxisWidth, legend_top}, width - 2 * kMargin - kAxisWidth,
              {{kFree, "free"},
               {shade(1), "span, nearly empty"},
               {shade(50), "half full"},
               {shade(100), "full"},
               {kTableFill, "the heap's own tables"}});
  draw_classes(svg, {kMargin, classes_top}, width - 2 * kMargin, usage);
  return svg;
}

}  // namespace strata::inline v0_1::tools
