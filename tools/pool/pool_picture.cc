#include <fmt/format.h>

#include <algorithm>

#include "strata/base/bytes.h"
#include "tools/pool/pool_view.h"

namespace strata::inline v0_1::tools {
namespace {

constexpr double kWidth = 1000;
constexpr double kMargin = 24;
constexpr double kTop = 84;
constexpr double kRowHeight = 34;
constexpr double kRowGap = 6;
constexpr std::uint64_t kRows = 16;
constexpr const char* kMetadata = "#8793a3";
constexpr const char* kPrevious = "#c9a227";
constexpr const char* kOther = "#d98c8c";

struct Stretch {
  std::uint64_t begin;
  std::uint64_t end;
  std::string fill;
  std::string label;
  std::string hint;
};

std::string colour_of(const PoolSegmentInfo& segment) {
  switch (segment.state) {
    case EntryState::current: return node_colour(0);
    case EntryState::previous: return kPrevious;
    default: return kOther;
  }
}

std::vector<Stretch> stretches_of(const PoolInfo& info) {
  std::vector<Stretch> all;
  all.push_back(
      {0, info.heap_offset_bytes, kMetadata, "libpmemobj",
       fmt::format("libpmemobj's header and lanes, {}", format_bytes(info.heap_offset_bytes))});
  all.push_back({info.directory_offset_bytes, info.directory_offset_bytes + info.directory_bytes,
                 node_colour(2), "directory", fmt::format("directory, {} slots", info.slots)});
  for (const PoolSegmentInfo& segment : info.segments) {
    if (!segment.problem.empty()) continue;
    all.push_back({segment.object_offset_bytes, segment.object_offset_bytes + segment.object_bytes,
                   colour_of(segment), segment.name,
                   fmt::format("{} version {} ({}), {} in {}", segment.name, segment.version,
                               entry_state_name(segment.state), format_bytes(segment.payload_bytes),
                               format_bytes(segment.object_bytes))});
  }
  return all;
}

// The part of `stretch` that lies in one row of the picture.
void draw_part(Svg& svg, const Stretch& stretch, std::uint64_t row, std::uint64_t row_bytes) {
  const std::uint64_t begin = std::max(stretch.begin, row * row_bytes);
  const std::uint64_t end = std::min(stretch.end, (row + 1) * row_bytes);
  if (begin >= end) return;
  const double scale = (kWidth - 2 * kMargin) / static_cast<double>(row_bytes);
  const double x = kMargin + static_cast<double>(begin - row * row_bytes) * scale;
  const double y = kTop + static_cast<double>(row) * (kRowHeight + kRowGap);
  const double width = std::max(1.5, static_cast<double>(end - begin) * scale);
  svg.rect({.x = x, .y = y, .width = width, .height = kRowHeight},
           {.fill = stretch.fill, .stroke = kPaper, .stroke_width = 0.5, .corner_radius = 2},
           stretch.hint);
  if (text_width(stretch.label, 12) + 8 < width) {
    svg.text({x + 5, y + 21}, stretch.label, {.size = 12, .fill = kPaper});
  }
}

}  // namespace

Svg draw_pool(const PoolInfo& info) {
  const double rows_height = static_cast<double>(kRows) * (kRowHeight + kRowGap);
  Svg svg(kWidth, kTop + rows_height + 60);
  svg.title(info.path,
            fmt::format("{}, {} of {} slots used, {} a row", format_bytes(info.file_bytes),
                        info.used_slots, info.slots, format_bytes(info.file_bytes / kRows)));
  const std::uint64_t row_bytes = std::max<std::uint64_t>(1, (info.file_bytes + kRows - 1) / kRows);
  const auto stretches = stretches_of(info);
  for (std::uint64_t row = 0; row < kRows; ++row) {
    svg.rect({.x = kMargin,
              .y = kTop + static_cast<double>(row) * (kRowHeight + kRowGap),
              .width = kWidth - 2 * kMargin,
              .height = kRowHeight},
             {.fill = kPanel, .stroke = kRule, .corner_radius = 2});
    for (const Stretch& stretch : stretches)
      draw_part(svg, stretch, row, row_bytes);
  }
  draw_legend(svg, {kMargin, kTop + rows_height + 14}, kWidth - 2 * kMargin,
              {{kMetadata, "libpmemobj"},
               {node_colour(2), "directory"},
               {node_colour(0), "current version"},
               {kPrevious, "previous version"},
               {kOther, "staged or retired"},
               {kPanel, "free, or other objects", kRule}});
  return svg;
}

}  // namespace strata::inline v0_1::tools
