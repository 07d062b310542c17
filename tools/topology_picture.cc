#include "tools/topology_picture.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "base/bytes.h"

namespace strata::tools {
namespace {

constexpr double kMargin = 24;
constexpr double kCardWidth = 250;
constexpr double kGap = 18;
constexpr double kTop = 84;
constexpr double kInner = 16;
constexpr std::size_t kMaxCardsInRow = 4;
constexpr std::size_t kMaxDrawnCpus = 128;
constexpr double kCpuPitch = 13;
constexpr double kDeviceHeight = 24;

std::string title_of(const MemoryNode& node) {
  return fmt::format("Node {}{}{}", node.node, node.kind.empty() ? "" : "  ", node.kind);
}

std::vector<const PciDevice*> devices_near(const Topology& topology, int node) {
  std::vector<const PciDevice*> near;
  for (const PciDevice& device : topology.pci_devices())
    if (device.node == node && !device_kind(device).empty()) near.push_back(&device);
  return near;
}

std::size_t cpus_in_row() {
  return static_cast<std::size_t>((kCardWidth - 2 * kInner) / kCpuPitch);
}

double cpu_rows_height(const MemoryNode& node) {
  const std::size_t drawn = std::min(node.cpus.size(), kMaxDrawnCpus);
  const std::size_t rows = (drawn + cpus_in_row() - 1) / cpus_in_row();
  return static_cast<double>(rows) * kCpuPitch;
}

double card_height(const Topology& topology, const MemoryNode& node) {
  return 134 + cpu_rows_height(node) +
         static_cast<double>(devices_near(topology, node.node).size()) * kDeviceHeight;
}

void draw_memory(Svg& svg, Point at, const MemoryNode& node, double most_bytes) {
  const double width = kCardWidth - 2 * kInner;
  const double share = most_bytes > 0 ? static_cast<double>(node.memory_bytes) / most_bytes : 0;
  svg.rect({.x = at.x, .y = at.y, .width = width, .height = 12},
           {.fill = "#e4e9ef", .stroke = "none", .corner_radius = 3});
  const Box all{.x = at.x, .y = at.y, .width = std::max(3.0, width * share), .height = 12};
  svg.rect(all, {.fill = node_colour(node.node), .stroke = "none", .corner_radius = 3});
  std::string text = format_bytes(node.memory_bytes);
  if (node.free_bytes) text += fmt::format(", {} free", format_bytes(*node.free_bytes));
  svg.text({at.x, at.y + 30}, text);
}

void draw_cpus(Svg& svg, Point at, const MemoryNode& node) {
  const std::size_t drawn = std::min(node.cpus.size(), kMaxDrawnCpus);
  for (std::size_t i = 0; i < drawn; ++i) {
    const std::size_t column = i % cpus_in_row();
    const std::size_t row = i / cpus_in_row();
    svg.rect({.x = at.x + static_cast<double>(column) * kCpuPitch,
              .y = at.y + static_cast<double>(row) * kCpuPitch,
              .width = kCpuPitch - 3,
              .height = kCpuPitch - 3},
             {.fill = "#aab6c4", .stroke = "none", .corner_radius = 2},
             fmt::format("CPU {}", node.cpus[i]));
  }
}

std::string cpu_text(const MemoryNode& node) {
  if (node.is_memory_only()) return "no processors: memory only";
  return fmt::format("{} processor{}{}", node.cpus.size(), node.cpus.size() == 1 ? "" : "s",
                     node.cpus.size() > kMaxDrawnCpus
                         ? fmt::format(", the first {} shown", kMaxDrawnCpus)
                         : std::string());
}

std::string speed_text(const MemoryNode& node) {
  std::string text;
  if (node.bandwidth_mb_per_s)
    text = fmt::format("{:.0f} GB/s", static_cast<double>(*node.bandwidth_mb_per_s) / 1000);
  if (node.latency_ns) text += fmt::format("{}{} ns", text.empty() ? "" : ", ", *node.latency_ns);
  return text.empty() ? "speed not told by the platform" : text;
}

void draw_card(Svg& svg, const Box& box, const Topology& topology, const MemoryNode& node,
               double most_bytes) {
  svg.rect(box, {.fill = kPanel, .stroke = kRule, .corner_radius = 8});
  svg.rect({.x = box.x, .y = box.y, .width = 6, .height = box.height},
           {.fill = node_colour(node.node), .stroke = "none", .corner_radius = 3});
  const double x = box.x + kInner;
  double y = box.y + 28;
  svg.text({x, y}, title_of(node), {.size = 15, .is_bold = true});
  draw_memory(svg, {x, y + 14}, node, most_bytes);
  y += 66;
  svg.text({x, y}, speed_text(node), {.size = 12, .fill = kFaintInk});
  y += 22;
  svg.text({x, y}, cpu_text(node), {.size = 12, .fill = kFaintInk});
  y += 10;
  draw_cpus(svg, {x, y}, node);
  y += cpu_rows_height(node) + 2;
  for (const PciDevice* device : devices_near(topology, node.node)) {
    const Box chip{.x = x, .y = y, .width = kCardWidth - 2 * kInner, .height = kDeviceHeight - 5};
    svg.rect(chip, {.fill = kPaper, .stroke = kRule, .corner_radius = 4});
    svg.text({x + 8, y + 14}, device_kind(*device), {.size = 12});
    svg.text({x + chip.width - 8, y + 14}, device->address,
             {.size = 11, .fill = kFaintInk, .anchor = "end", .is_monospaced = true});
    y += kDeviceHeight;
  }
}

double distance_cell(const Topology& topology) { return topology.nodes().size() > 16 ? 26 : 38; }

double distances_height(const Topology& topology) {
  const auto& nodes = topology.nodes();
  if (nodes.size() < 2 || !topology.distance(nodes[0].node, nodes[1].node)) return 0;
  return 70 + (static_cast<double>(nodes.size()) + 1) * distance_cell(topology);
}

// Near is pale, far is dark.
std::string shade(int distance, int farthest) {
  const double share =
      farthest <= 10 ? 0 : std::clamp((distance - 10) / static_cast<double>(farthest - 10), 0., 1.);
  const auto mix = [share](int near, int far) {
    return static_cast<int>(std::lround(near + share * (far - near)));
  };
  return fmt::format("#{:02x}{:02x}{:02x}", mix(237, 118), mix(242, 140), mix(247, 170));
}

void draw_distances(Svg& svg, Point at, const Topology& topology) {
  const auto& nodes = topology.nodes();
  const double cell = distance_cell(topology);
  int farthest = 10;
  for (const MemoryNode& from : nodes)
    for (const MemoryNode& to : nodes)
      farthest = std::max(farthest, topology.distance(from.node, to.node).value_or(10));
  svg.text({at.x, at.y + 16}, "Distance", {.size = 15, .is_bold = true});
  svg.text({at.x + 78, at.y + 16}, "10 is a node's own memory; from the row's node to the column's",
           {.size = 12, .fill = kFaintInk});
  const double top = at.y + 34;
  for (std::size_t i = 0; i < nodes.size(); ++i) {
    const double along = (static_cast<double>(i) + 1.5) * cell;
    const TextStyle style{
        .size = 12, .fill = node_colour(nodes[i].node), .anchor = "middle", .is_bold = true};
    svg.text({at.x + along, top + cell / 2 + 4}, std::to_string(nodes[i].node), style);
    svg.text({at.x + cell / 2, top + along + 4}, std::to_string(nodes[i].node), style);
    for (std::size_t j = 0; j < nodes.size(); ++j) {
      const int distance = topology.distance(nodes[i].node, nodes[j].node).value_or(0);
      const Box box{.x = at.x + (static_cast<double>(j) + 1) * cell + 1,
                    .y = top + (static_cast<double>(i) + 1) * cell + 1,
                    .width = cell - 2,
                    .height = cell - 2};
      svg.rect(box, {.fill = shade(distance, farthest), .stroke = "none", .corner_radius = 3});
      svg.text({box.x + box.width / 2, box.y + box.height / 2 + 4}, std::to_string(distance),
               {.size = cell > 30 ? 12.0 : 10.0, .anchor = "middle"});
    }
  }
}

}  // namespace

std::string_view device_kind(const PciDevice& device) {
  switch (device.class_code) {
    case 0x0108: return "NVMe";
    case 0x0207: return "InfiniBand";
    case 0x0300: return "display";
    case 0x0302: return "GPU";
    case 0x0502: return "CXL memory";
    case 0x1200: return "accelerator";
    default: break;
  }
  switch (device.class_code >> 8) {
    case 0x01: return "storage";
    case 0x02: return "network";
    default: return "";
  }
}

Svg draw_topology(const Topology& topology, std::string_view name) {
  const auto& nodes = topology.nodes();
  const std::size_t in_row = std::clamp<std::size_t>(nodes.size(), 2, kMaxCardsInRow);
  std::vector<double> row_heights;
  std::uint64_t total_bytes = 0;
  std::uint64_t most_bytes = 0;
  std::size_t cpus = 0;
  for (std::size_t i = 0; i < nodes.size(); ++i) {
    if (i % in_row == 0) row_heights.push_back(0);
    row_heights.back() = std::max(row_heights.back(), card_height(topology, nodes[i]));
    total_bytes += nodes[i].memory_bytes;
    most_bytes = std::max(most_bytes, nodes[i].memory_bytes);
    cpus += nodes[i].cpus.size();
  }
  double height = kTop;
  for (const double row : row_heights)
    height += row + kGap;
  const double matrix_top = height + 8;
  const double matrix_width =
      (static_cast<double>(nodes.size()) + 1) * distance_cell(topology) + 2 * kMargin;
  const double width =
      std::max(static_cast<double>(in_row) * (kCardWidth + kGap) - kGap + 2 * kMargin,
               distances_height(topology) > 0 ? matrix_width : 0);
  height += distances_height(topology) + kMargin - kGap;

  Svg svg(width, height);
  svg.title(name, fmt::format("{} memory node{}, {}, {} processors", nodes.size(),
                              nodes.size() == 1 ? "" : "s", format_bytes(total_bytes), cpus));
  double y = kTop;
  for (std::size_t i = 0; i < nodes.size(); ++i) {
    const double row_height = row_heights[i / in_row];
    const Box card{.x = kMargin + static_cast<double>(i % in_row) * (kCardWidth + kGap),
                   .y = y,
                   .width = kCardWidth,
                   .height = row_height};
    draw_card(svg, card, topology, nodes[i], static_cast<double>(most_bytes));
    if (i % in_row == in_row - 1) y += row_height + kGap;
  }
  if (distances_height(topology) > 0) draw_distances(svg, {kMargin, matrix_top}, topology);
  return svg;
}

}  // namespace strata::tools
