#include <fmt/format.h>

#include "numa/plan.h"
#include "strata/base/bytes.h"
#include "tools/command/create_flags.h"
#include "tools/command/topology_flags.h"
#include "tools/machine/machine_commands.h"
#include "tools/view/segment_view.h"

namespace strata::inline v0_1::tools {
namespace {

constexpr std::size_t kBarColumns = 24;

struct Options {
  std::string uri;
  std::uint64_t bytes = 0;
  std::string topology;
  CreateFlags flags;
};

Json to_json(const Options& options, const Plan& plan) {
  Json json = {{"uri", options.uri},
               {"payload_bytes", plan.payload_bytes},
               {"mode", plan.mode_name()},
               {"strict", plan.is_strict},
               {"page_size", page_size_name(plan.page_size)},
               {"page_bytes", plan.page_bytes},
               {"nodes", plan.nodes},
               {"weights", plan.weights}};
  Json expected = Json::array();
  for (const NodePages& share : plan.expected)
    expected.push_back({{"node", share.node}, {"bytes", share.pages * kPageBytes}});
  json["expected"] = expected;
  json["reasons"] = plan.reasons;
  Json fallbacks = Json::array();
  for (const Fallback& fallback : plan.fallbacks)
    fallbacks.push_back({{"node", fallback.node}, {"reason", fallback.reason}});
  json["fallbacks"] = fallbacks;
  return json;
}

void print(Output& output, const Options& options, const Plan& plan) {
  Facts facts;
  facts.heading(fmt::format("{}: {}", options.uri, format_bytes(plan.payload_bytes)));
  facts.add("policy", plan.mode_name() + (plan.is_strict ? ", strict" : ""));
  facts.add("pages",
            fmt::format("{} ({})", page_size_name(plan.page_size), format_bytes(plan.page_bytes)));
  for (const std::string& reason : plan.reasons)
    facts.add("because", reason);
  for (const Fallback& fallback : plan.fallbacks)
    facts.add(fmt::format("not node {}", fallback.node), Cell(fallback.reason, Tone::warning));
  output.print(facts);
  if (plan.expected.empty()) {
    output.line("  the node is known only when the pages are made");
    return;
  }
  Table table({{"  NODE", Align::right}, {"MEMORY", Align::right}, {"SHARE"}});
  for (const NodePages& share : plan.expected) {
    const double part = plan.payload_bytes == 0 ? 0
                                                : static_cast<double>(share.pages * kPageBytes) /
                                                      static_cast<double>(plan.payload_bytes);
    table.add({std::to_string(share.node), format_bytes(share.pages * kPageBytes),
               Cell(bar(part, kBarColumns), Tone::accent)});
  }
  output.print(table);
}

Result<ExitCode> plan(Context& context, const Options& options) {
  STRATA_TRY(SegmentUri::parse(options.uri));
  STRATA_ASSIGN(const CreateOptions how, options.flags.to_options(context.os(), options.topology));
  STRATA_ASSIGN(const Topology topology, load_topology(context.os(), options.topology));
  const auto local_cpu =
      topology.is_this_machine() ? context.os().current_cpu() : std::optional<int>();
  STRATA_ASSIGN(const Plan plan,
                make_plan(topology, how.placement, options.bytes, how.page_size, local_cpu));
  context.output().json(to_json(options, plan));
  print(context.output(), options, plan);
  return ExitCode::done;
}

}  // namespace

void add_plan(Commands& commands) {
  const auto options = std::make_shared<Options>();
  Arguments arguments = commands.add(
      {.name = "plan",
       .summary = "say which nodes and pages a segment would get, and why",
       .description = "Creates nothing. It asks what `strata create` would ask, on this machine "
                      "or on any that `strata topology` can show.",
       .examples =
           "strata plan shm:mesh --size 64M --interleave 0,1 --topology 'node:2 core:4 pu:1'\n"
           "strata plan shm:mesh --size 64G --tier bandwidth --topology machine.xml"},
      [options](Context& context) { return plan(context, *options); });
  arguments.word("URI", options->uri, "the segment to be");
  arguments.required_size("--size", options->bytes, "bytes of payload: 4096, 64M, 1.5G");
  options->flags.add_placement(arguments);
  add_topology_flag(arguments, options->topology);
}

}  // namespace strata::inline v0_1::tools
