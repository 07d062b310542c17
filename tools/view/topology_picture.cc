#include "tools/view/topology_picture.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <optional>
#include <string>
#include <vector>

#include "strata/base/bytes.h"

namespace strata::inline v0_1::tools {
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

// What stands on a card, or beneath them all.
struct Chip {
  std::string what;  // "gpu:0", "NVMe"
  std::string address;
};

struct Machine {
  const Topology& topology;
  const std::vector<GpuDevice>& gpus;

  // GPUs first. Without a node: the GPUs of which it is not known.
  std::vector<Chip> devices_near(std::optional<int> node) const {
    std::vector<Chip> near;
    for (const GpuDevice& gpu : gpus)
      if (gpu.node == node) near.push_back({fmt::format("gpu:{}", gpu.number), gpu.pci_address});
    if (!node) return near;
    for (const PciDevice& device : topology.pci_devices()) {
      if (device.node != node || device_kind(device).empty() || is_one_of(gpus, device)) continue;
      near.push_back({std::string(device_kind(device)), device.address});
    }
    return near;
  }
};

std::size_t cpus_in_row() {
  return static_cast<std::size_t>((kCardWidth - 2 * kInner) / kCpuPitch);
}

double cpu_rows_height(const MemoryNode& node) {
  const std::size_t drawn = std::min(node.cpus.size(), kMaxDrawnCpus);
  const std::size_t rows = (drawn + cpus_in_row() - 1) / cpus_in_row();
  return static_cast<double>(rows) * kCpuPitch;
}

double card_height(const Machine& machine, const MemoryNode& node) {
  return 134 + cpu_rows_height(node) +
         static_cast<double>(machine.devices_near(node.node).size()) * kDeviceHeight;
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

void draw_chip(Svg& svg, Point at, const Chip& chip) {
  const Box box{
      .x = at.x, .y = at.y, .width = kCardWidth - 2 * kInner, .height = kDeviceHeight - 5};
  svg.rect(box, {.fill = kPaper, .stroke = kRule, .corner_radius = 4});
  svg.text({box.x + 8, box.y + 14}, chip.what, {.size = 12});
  svg.text({box.x + box.width - 8, box.y + 14}, chip.address,
           {.size = 11, .fill = kFaintInk, .anchor = "end", .is_monospaced = true});
}

void draw_card(Svg& svg, const Box& box, const Machine& machine, const MemoryNode& node,
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
  for (const Chip& chip : machine.devices_near(node.node)) {
    draw_chip(svg, {x, y}, chip);
    y += kDeviceHeight;
  }
}

double lost_height(const Machine& machine) {
  const auto count = static_cast<double>(machine.devices_near({}).size());
  return count == 0 ? 0 : 40 + count * kDeviceHeight;
}

// GPUs that the platform does not say the place of.
void draw_lost(Svg& svg, Point at, const Machine& machine) {
  double y = at.y + 16;
  for (const Chip& chip : machine.devices_near({})) {
    if (y == at.y + 16)
      svg.text({at.x, y}, "Near to an unknown node", {.size = 15, .is_bold = true});
    draw_chip(svg, {at.x, y + 12}, chip);
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

// Cards in rows, each as high as its highest.
struct Layout {
  std::size_t in_row = 0;
  std::vector<double> row_heights;

  explicit Layout(const Machine& machine) {
    const auto& nodes = machine.topology.nodes();
    in_row = std::clamp<std::size_t>(nodes.size(), 2, kMaxCardsInRow);
    for (std::size_t i = 0; i < nodes.size(); ++i) {
      if (i % in_row == 0) row_heights.push_back(0);
      row_heights.back() = std::max(row_heights.back(), card_height(machine, nodes[i]));
    }
  }

  double cards_bottom() const {
    double bottom = kTop;
    for (const double row : row_heights)
      bottom += row + kGap;
    return bottom;
  }
  double cards_width() const {
    return static_cast<double>(in_row) * (kCardWidth + kGap) - kGap + 2 * kMargin;
  }
};

void draw_cards(Svg& svg, const Layout& layout, const Machine& machine, double most_bytes) {
  const auto& nodes = machine.topology.nodes();
  double y = kTop;
  for (std::size_t i = 0; i < nodes.size(); ++i) {
    const double row_height = layout.row_heights[i / layout.in_row];
    const std::size_t column = i % layout.in_row;
    const Box card{.x = kMargin + static_cast<double>(column) * (kCardWidth + kGap),
                   .y = y,
                   .width = kCardWidth,
                   .height = row_height};
    draw_card(svg, card, machine, nodes[i], most_bytes);
    if (column == layout.in_row - 1) y += row_height + kGap;
  }
}

}  // namespace

bool is_one_of(const std::vector<GpuDevice>& gpus, const PciDevice& device) {
  return std::any_of(gpus.begin(), gpus.end(),
                     [&](const GpuDevice& gpu) { return gpu.pci_address == device.address; });
}

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

Svg draw_topology(const Topology& topology, const std::vector<GpuDevice>& gpus,
                  std::string_view name) {
  const auto& nodes = topology.nodes();
  const Machine machine{topology, gpus};
  const Layout layout(machine);
  std::uint64_t total_bytes = 0;
  std::uint64_t most_bytes = 0;
  std::size_t cpus = 0;
  for (const MemoryNode& node : nodes) {
    total_bytes += node.memory_bytes;
    most_bytes = std::max(most_bytes, node.memory_bytes);
    cpus += node.cpus.size();
  }
  const double lost_top = layout.cards_bottom() + 8;
  const double matrix_top = lost_top + lost_height(machine);
  const double matrix_width =
      (static_cast<double>(nodes.size()) + 1) * distance_cell(topology) + 2 * kMargin;
  const double width =
      std::max(layout.cards_width(), distances_height(topology) > 0 ? matrix_width : 0);

  Svg svg(width, matrix_top - 8 + distances_height(topology) + kMargin - kGap);
  svg.title(name, fmt::format("{} memory node{}, {}, {} processors", nodes.size(),
                              nodes.size() == 1 ? "" : "s", format_bytes(total_bytes), cpus));
  draw_cards(svg, layout, machine, static_cast<double>(most_bytes));
  draw_lost(svg, {kMargin, lost_top}, machine);
  if (distances_height(topology) > 0) draw_distances(svg, {kMargin, matrix_top}, topology);
  return svg;
}

}  // namespace strata::inline v0_1::tools
