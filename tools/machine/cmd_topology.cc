#include <fmt/format.h>

#include "numa/gpu_devices.h"
#include "strata/base/bytes.h"
#include "tools/command/topology_flags.h"
#include "tools/machine/machine_commands.h"
#include "tools/view/topology_picture.h"

namespace strata::inline v0_1::tools {
namespace {

struct Options {
  std::string spec;
  std::string svg_path;
};

template <typename T>
Json or_null(const std::optional<T>& value) {
  return value ? Json(*value) : Json(nullptr);
}

Json to_json(const Topology& topology, const MemoryNode& node) {
  Json json = {{"node", node.node},
               {"kind", node.kind},
               {"memory_bytes", node.memory_bytes},
               {"free_bytes", or_null(node.free_bytes)},
               {"cpus", node.cpus},
               {"near_cpus", node.near_cpus},
               {"bandwidth_mb_per_s", or_null(node.bandwidth_mb_per_s)},
               {"latency_ns", or_null(node.latency_ns)},
               {"capacity_bytes", or_null(node.capacity_bytes)}};
  Json pools = Json::array();
  for (const HugePagePool& pool : node.huge_page_pools) {
    pools.push_back({{"page_bytes", pool.page_bytes},
                     {"total_pages", pool.total_pages},
                     {"free_pages", pool.free_pages},
                     {"on_demand_pages", pool.on_demand_pages}});
  }
  json["huge_page_pools"] = pools;
  Json distances = Json::object();
  for (const MemoryNode& other : topology.nodes())
    distances[std::to_string(other.node)] = or_null(topology.distance(node.node, other.node));
  json["distances"] = distances;
  return json;
}

Json to_json(const GpuDevice& gpu) {
  const auto text_or_null = [](const std::string& text) {
    return text.empty() ? Json() : Json(text);
  };
  return {{"name", fmt::format("gpu:{}", gpu.number)}, {"address", gpu.pci_address},
          {"model", text_or_null(gpu.driver.model)},   {"uuid", text_or_null(gpu.driver.uuid)},
          {"minor", or_null(gpu.driver.minor)},        {"node", or_null(gpu.node)}};
}

Json to_json(const Topology& topology, const std::vector<GpuDevice>& gpus) {
  Json nodes = Json::array();
  for (const MemoryNode& node : topology.nodes())
    nodes.push_back(to_json(topology, node));
  Json devices = Json::array();
  for (const PciDevice& device : topology.pci_devices()) {
    devices.push_back({{"address", device.address},
                       {"kind", device_kind(device)},
                       {"class", fmt::format("{:04x}", device.class_code)},
                       {"vendor", fmt::format("{:04x}", device.vendor)},
                       {"node", or_null(device.node)}});
  }
  Json gpu_list = Json::array();
  for (const GpuDevice& gpu : gpus)
    gpu_list.push_back(to_json(gpu));
  return {{"this_machine", topology.is_this_machine()},
          {"nodes", nodes},
          {"forbidden_nodes", topology.forbidden_nodes()},
          {"devices", devices},
          {"gpus", gpu_list}};
}

std::string cpu_ranges(const std::vector<int>& cpus) {
  std::string text;
  for (std::size_t i = 0; i < cpus.size();) {
    std::size_t last = i;
    while (last + 1 < cpus.size() && cpus[last + 1] == cpus[last] + 1)
      ++last;
    text += fmt::format("{}{}", text.empty() ? "" : ",", cpus[i]);
    if (last > i) text += fmt::format("-{}", cpus[last]);
    i = last + 1;
  }
  return text.empty() ? "none" : text;
}

std::string pools_text(const MemoryNode& node) {
  std::string text;
  for (const HugePagePool& pool : node.huge_page_pools) {
    if (pool.total_pages == 0 && pool.on_demand_pages == 0) continue;
    text += fmt::format("{}{} of {} free × {}", text.empty() ? "" : ", ", pool.free_pages,
                        pool.total_pages, format_bytes(pool.page_bytes));
    if (pool.on_demand_pages > 0) text += fmt::format(" + {} on demand", pool.on_demand_pages);
  }
  return text.empty() ? "none" : text;
}

Table nodes_table(const Topology& topology) {
  Table table({{"NODE", Align::right},
               {"KIND"},
               {"MEMORY", Align::right},
               {"FREE", Align::right},
               {"CPUS"},
               {"BANDWIDTH", Align::right},
               {"LATENCY", Align::right},
               {"RESERVED HUGE PAGES"}});
  for (const MemoryNode& node : topology.nodes()) {
    table.add({Cell(std::to_string(node.node), Tone::strong), node.kind.empty() ? "-" : node.kind,
               format_bytes(node.memory_bytes),
               node.free_bytes ? format_bytes(*node.free_bytes) : "-", cpu_ranges(node.cpus),
               node.bandwidth_mb_per_s ? fmt::format("{} MB/s", *node.bandwidth_mb_per_s) : "-",
               node.latency_ns ? fmt::format("{} ns", *node.latency_ns) : "-", pools_text(node)});
  }
  return table;
}

bool has_distances(const Topology& topology) {
  const auto& nodes = topology.nodes();
  return nodes.size() > 1 && topology.distance(nodes[0].node, nodes[1].node).has_value();
}

Table distances_table(const Topology& topology) {
  std::vector<Column> columns = {{"DISTANCE"}};
  for (const MemoryNode& node : topology.nodes())
    columns.push_back({std::to_string(node.node), Align::right});
  Table table(std::move(columns));
  for (const MemoryNode& from : topology.nodes()) {
    std::vector<Cell> row = {Cell(fmt::format("node {}", from.node))};
    for (const MemoryNode& to : topology.nodes()) {
      const auto distance = topology.distance(from.node, to.node);
      row.emplace_back(distance ? std::to_string(*distance) : "-",
                       from.node == to.node ? Tone::dim : Tone::plain);
    }
    table.add(std::move(row));
  }
  return table;
}

Table devices_table(const Topology& topology, const std::vector<GpuDevice>& gpus) {
  Table table({{"DEVICE"}, {"KIND"}, {"NEAREST NODE", Align::right}, {"NAME"}, {"MODEL"}});
  const auto node_text = [](std::optional<int> node) {
    return node ? std::to_string(*node) : std::string("unknown");
  };
  for (const GpuDevice& gpu : gpus) {
    table.add({gpu.pci_address, "GPU", node_text(gpu.node),
               Cell(fmt::format("gpu:{}", gpu.number), Tone::strong), gpu.driver.model});
  }
  for (const PciDevice& device : topology.pci_devices()) {
    if (device_kind(device).empty() || is_one_of(gpus, device)) continue;
    table.add({device.address, std::string(device_kind(device)), node_text(device.node)});
  }
  return table;
}

Result<ExitCode> show(Context& context, const Options& options) {
  STRATA_ASSIGN(const Topology topology, load_topology(context.os(), options.spec));
  const std::vector<GpuDevice> gpus = find_gpus(context.os(), topology);
  Output& output = context.output();
  if (!options.svg_path.empty()) {
    const std::string name = options.spec.empty() ? "This machine" : options.spec;
    STRATA_TRY(save_svg(context.os(), options.svg_path, draw_topology(topology, gpus, name)));
  }
  output.json(to_json(topology, gpus));
  output.print(nodes_table(topology));
  for (const int node : topology.forbidden_nodes())
    output.note(fmt::format("node {} is not allowed by the cpuset of this process", node));
  if (has_distances(topology)) {
    output.line("");
    output.print(distances_table(topology));
  }
  if (const Table devices = devices_table(topology, gpus); !devices.empty()) {
    output.line("");
    output.print(devices);
  }
  return ExitCode::done;
}

}  // namespace

void add_topology(Commands& commands) {
  const auto options = std::make_shared<Options>();
  Arguments arguments = commands.add(
      {.name = "topology",
       .summary = "show the memory nodes of a machine, and what is near to them",
       .description = "Of this machine, of another one that hwloc has written down, or of one "
                      "that is made up. Names the GPUs as --near takes them. Inside a cpuset it "
                      "shows the nodes that may be used and names the others.",
       .examples = "strata topology\n"
                   "strata topology --topology 'node:4 core:8 pu:2' --svg machine.svg\n"
                   "lstopo big.xml; strata topology --topology big.xml",
       .other_names = {"nodes", "numa"}},
      [options](Context& context) { return show(context, *options); });
  add_topology_flag(arguments, options->spec);
  arguments.option("--svg", options->svg_path, "draw it into this file", "FILE");
}

}  // namespace strata::inline v0_1::tools
