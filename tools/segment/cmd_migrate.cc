#include <fmt/format.h>

#include "strata/base/bytes.h"
#include "tools/command/create_flags.h"
#include "tools/segment/segment_commands.h"
#include "tools/view/segment_view.h"

namespace strata::inline v0_1::tools {
namespace {

struct Options {
  std::string uri;
  CreateFlags flags;
  std::uint64_t timeout_ms = 10'000;
};

// A sealed segment is mapped for reading only; its pages can be moved all the same.
Result<Segment> attach_for_moving(Catalog& catalog, const std::string& uri) {
  auto segment = catalog.attach(uri);
  if (segment || segment.error().code() != Code::failed_precondition) return segment;
  return catalog.attach(uri, {.access = Access::read_only});
}

std::string nodes_text(const PlacementReport& report) {
  std::string text;
  for (const NodePages& share : report.pages_on_node) {
    text += fmt::format("{}{} on node {}", text.empty() ? "" : ", ",
                        format_bytes(share.pages * kPageBytes), share.node);
  }
  return text.empty() ? "nothing in memory" : text;
}

void tell(Context& context, const Options& options, const Placement& placement,
          const PlacementReport& report, const Segment& segment) {
  Json nodes = Json::array();
  for (const NodePages& share : report.pages_on_node)
    nodes.push_back({{"node", share.node}, {"bytes", share.pages * kPageBytes}});
  context.output().json({{"uri", options.uri},
                         {"placement", placement.to_string()},
                         {"nodes", nodes},
                         {"absent_bytes", report.pages_absent * kPageBytes},
                         {"recorded", segment.access() == Access::read_write},
                         {"notes", report.notes}});
  context.output().line(
      fmt::format("migrated {} to {}: {}", options.uri, placement.to_string(), nodes_text(report)));
  for (const std::string& note : report.notes)
    context.output().note(note);
}

Result<ExitCode> move(Context& context, const Options& options) {
  STRATA_ASSIGN(const CreateOptions how, options.flags.to_options(context.os()));
  STRATA_TRY(require(context.catalog(), options.uri, Capability::migrate));
  STRATA_ASSIGN(Segment segment, attach_for_moving(context.catalog(), options.uri));
  STRATA_ASSIGN(const PlacementReport report,
                segment.migrate(how.placement, Deadline::after_ms(options.timeout_ms)));
  tell(context, options, how.placement, report, segment);
  return ExitCode::done;
}

}  // namespace

void add_migrate(Commands& commands) {
  const auto options = std::make_shared<Options>();
  Arguments arguments = commands.add(
      {.name = "migrate",
       .summary = "move a segment's pages to other memory nodes",
       .description = "Processes stay attached, and read and write meanwhile. While another "
                      "process grows, seals or migrates it, it waits (--timeout-ms) and then "
                      "names that process. The new place is recorded in the segment, except in a "
                      "sealed one. `strata map` shows what came of it.",
       .examples = "strata migrate shm:mesh --node 1\n"
                   "strata migrate shm:mesh --interleave 0,1 --strict",
       .other_names = {"move"}},
      [options](Context& context) { return move(context, *options); });
  arguments.word("URI", options->uri, "the segment");
  options->flags.add_placement(arguments);
  arguments.option_with_default("--timeout-ms", options->timeout_ms,
                                "how long to wait while another process changes the segment", "MS");
}

}  // namespace strata::inline v0_1::tools
