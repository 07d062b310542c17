#include <fmt/format.h>

#include "strata/base/bytes.h"
#include "strata/heap/heap.h"
#include "tools/segment/segment_commands.h"
#include "tools/view/heap_picture.h"
#include "tools/view/heap_view.h"
#include "tools/view/segment_view.h"

namespace strata::inline v0_1::tools {
namespace {

constexpr std::size_t kBarColumns = 20;

struct Options {
  std::string uri;
  std::string svg_path;
};

// Looking changes nothing, also where a dead process left something to clean up.
Result<Segment> attach_to_look(Context& context, const std::string& uri) {
  STRATA_TRY(require(context.catalog(), uri, Capability::heap));
  return context.catalog().attach(uri, {.access = Access::read_only});
}

Json to_json(const std::string& uri, const HeapUsage& usage) {
  Json classes = Json::array();
  for (const HeapUsage::Class& entry : usage.classes) {
    classes.push_back({{"block_bytes", entry.block_bytes},
                       {"spans", entry.spans},
                       {"blocks", entry.blocks},
                       {"allocated_blocks", entry.allocated_blocks},
                       {"allocated_bytes", entry.allocated_bytes}});
  }
  Json nodes = Json::array();
  for (const HeapUsage::Node& node : usage.nodes) {
    nodes.push_back({{"node", node.node}, {"units", node.units}, {"used_units", node.used_units}});
  }
  return {{"uri", uri},
          {"payload_bytes", usage.payload_bytes},
          {"max_bytes", usage.max_bytes},
          {"table_bytes", usage.table_bytes},
          {"span_bytes", usage.span_bytes},
          {"allocated_bytes", usage.allocated_bytes},
          {"free_bytes", usage.free_unit_bytes},
          {"largest_free_bytes", usage.largest_free_bytes},
          {"space_used_well", usage.space_used_well()},
          {"threads", usage.threads},
          {"names", usage.names},
          {"classes", classes},
          {"nodes", nodes}};
}

void print(Output& output, const std::string& uri, const HeapUsage& usage) {
  Facts facts;
  facts.heading(uri);
  facts.add("allocated", format_bytes(usage.allocated_bytes));
  facts.add("in spans of", fmt::format("{}, {:.1f}% of it used", format_bytes(usage.span_bytes),
                                       usage.space_used_well() * 100));
  facts.add("free", fmt::format("{}, the largest run {}", format_bytes(usage.free_unit_bytes),
                                format_bytes(usage.largest_free_bytes)));
  facts.add("tables", format_bytes(usage.table_bytes));
  facts.add("names", std::to_string(usage.names));
  facts.add("threads", std::to_string(usage.threads));
  for (const HeapUsage::Node& node : usage.nodes) {
    facts.add(fmt::format("node {}", node.node),
              fmt::format("{} of {} units used", node.used_units, node.units));
  }
  output.print(facts);
  if (usage.classes.empty()) return;
  output.line("");
  Table table({{"BLOCKS OF", Align::right},
               {"SPANS", Align::right},
               {"USED", Align::right},
               {"OF", Align::right},
               {"MEMORY", Align::right},
               {""}});
  for (const HeapUsage::Class& entry : usage.classes) {
    const double share = entry.blocks == 0 ? 1
                                           : static_cast<double>(entry.allocated_blocks) /
                                                 static_cast<double>(entry.blocks);
    table.add({entry.block_bytes == 0 ? "large" : format_bytes(entry.block_bytes),
               std::to_string(entry.spans), std::to_string(entry.allocated_blocks),
               std::to_string(entry.blocks), format_bytes(entry.allocated_bytes),
               Cell(bar(share, kBarColumns), Tone::accent)});
  }
  output.print(table);
}

Result<ExitCode> show_heap(Context& context, const Options& options) {
  STRATA_ASSIGN(Segment segment, attach_to_look(context, options.uri));
  STRATA_ASSIGN(const Heap heap, open_heap(segment));
  STRATA_ASSIGN(const HeapUsage usage, heap.inspect());
  if (!options.svg_path.empty())
    STRATA_TRY(save_svg(context.os(), options.svg_path, draw_heap(usage, options.uri)));
  context.output().json(to_json(options.uri, usage));
  print(context.output(), options.uri, usage);
  return ExitCode::done;
}

Result<ExitCode> show_objects(Context& context, const Options& options) {
  STRATA_ASSIGN(Segment segment, attach_to_look(context, options.uri));
  STRATA_ASSIGN(const Heap heap, open_heap(segment));
  STRATA_ASSIGN(const std::vector<ObjectInfo> objects, heap.objects());
  Json list = Json::array();
  Table table({{"NAME"}, {"TYPE"}, {"SIZE", Align::right}, {"OFFSET", Align::right}});
  for (const ObjectInfo& object : objects) {
    list.push_back({{"name", object.name},
                    {"type", object.type},
                    {"bytes", object.bytes},
                    {"align_bytes", object.align_bytes},
                    {"offset_bytes", object.offset_bytes},
                    {"layout_hash", fmt::format("{:016x}", object.layout_hash)}});
    table.add({Cell(object.name, Tone::strong), object.type, format_bytes(object.bytes),
               fmt::format("0x{:x}", object.offset_bytes)});
  }
  context.output().json({{"uri", options.uri}, {"objects", list}});
  if (objects.empty()) context.output().note("no named objects");
  if (!objects.empty()) context.output().print(table);
  return ExitCode::done;
}

}  // namespace

void add_heap(Commands& commands) {
  const auto options = std::make_shared<Options>();
  commands
      .add({.name = "heap",
            .summary = "show how full the heap in a segment is",
            .description =
                "What is allocated, by size and by memory node, and how far free space is "
                "in pieces. With --svg as a picture. For the objects see `strata objects`.",
            .examples = "strata heap shm:mesh\n"
                        "strata heap shm:mesh --svg heap.svg"},
           [options](Context& context) { return show_heap(context, *options); })
      .word("URI", options->uri, "the segment")
      .option("--svg", options->svg_path, "draw it into this file", "FILE");
}

void add_objects(Commands& commands) {
  const auto options = std::make_shared<Options>();
  commands
      .add({.name = "objects",
            .summary = "list the named objects in a segment's heap",
            .description = "Their types, sizes and places. `strata pool dump` prints the bytes of "
                           "those in a pool.",
            .examples = "strata objects shm:mesh\n"
                        "strata objects shm:mesh --json"},
           [options](Context& context) { return show_objects(context, *options); })
      .word("URI", options->uri, "the segment");
}

}  // namespace strata::inline v0_1::tools
