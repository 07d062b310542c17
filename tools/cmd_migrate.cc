#include <fmt/format.h>

#include <optional>

#include "base/bytes.h"
#include "numa/place.h"
#include "numa/plan.h"
#include "numa/topology.h"
#include "tools/commands.h"
#include "tools/create_flags.h"
#include "tools/segment_view.h"

namespace strata::tools {
namespace {

struct Options {
  std::string uri;
  CreateFlags flags;
  std::uint64_t timeout_ms = 10'000;
};

// A sealed segment is mapped for reading only; its pages can be moved all the same, but where
// they are then is not recorded in it.
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

// Nobody else grows, seals or migrates it meanwhile. Only who may write to it can lock it.
Result<std::optional<ChangeLock>> lock_out_others(Segment& segment, const Options& options) {
  if (segment.access() != Access::read_write) return std::nullopt;
  Mapping& mapping = segment.mapping();
  auto lock =
      ChangeLock::take(mapping.os(), mapping.lock_range(), Deadline::after_ms(options.timeout_ms));
  if (!lock) return unexpected(lock.error().in("migrate " + options.uri));
  STRATA_TRY(segment.refresh());
  return std::optional(std::move(*lock));
}

void tell(Context& context, const Options& options, const Placement& placement,
          const PlacementReport& report, bool is_recorded) {
  Json nodes = Json::array();
  for (const NodePages& share : report.pages_on_node)
    nodes.push_back({{"node", share.node}, {"bytes", share.pages * kPageBytes}});
  context.output().json({{"uri", options.uri},
                         {"placement", placement.to_string()},
                         {"nodes", nodes},
                         {"absent_bytes", report.pages_absent * kPageBytes},
                         {"recorded", is_recorded},
                         {"notes", report.notes}});
  context.output().line(
      fmt::format("migrated {} to {}: {}", options.uri, placement.to_string(), nodes_text(report)));
  for (const std::string& note : report.notes)
    context.output().note(note);
}

Result<ExitCode> move(Context& context, const Options& options) {
  STRATA_ASSIGN(const CreateOptions how, options.flags.to_options());
  STRATA_ASSIGN(Segment segment, attach_for_moving(context.catalog(), options.uri));
  STRATA_ASSIGN(const auto lock, lock_out_others(segment, options));
  STRATA_ASSIGN(const auto bytes, segment.host_bytes());
  const std::span payload(const_cast<std::byte*>(bytes.data()), bytes.size());
  STRATA_ASSIGN(const Topology topology, Topology::from_machine(context.os()));
  STRATA_ASSIGN(const Plan plan, make_plan(topology, how.placement, payload.size(),
                                           static_cast<PageSize>(segment.identity().page_size),
                                           context.os().current_cpu()));
  STRATA_ASSIGN(PlacementReport report, migrate(context.os(), payload, plan));
  if (lock) {
    store(report, segment.header().placement);
  } else {
    report.notes.emplace_back("it is sealed: `strata info` goes on showing where its pages were");
  }
  tell(context, options, how.placement, report, lock.has_value());
  return ExitCode::done;
}

}  // namespace

void add_migrate(Commands& commands) {
  const auto options = std::make_shared<Options>();
  Arguments arguments = commands.add(
      "migrate", "Move a segment's pages to other nodes while processes stay attached.",
      "strata migrate shm:mesh --node 1\nstrata migrate shm:mesh --interleave 0,1 --strict",
      [options](Context& context) { return move(context, *options); });
  arguments.word("URI", options->uri, "the segment");
  options->flags.add_placement(arguments);
  arguments.option_with_default("--timeout-ms", options->timeout_ms,
                                "how long to wait while another process changes the segment");
}

}  // namespace strata::tools
