#include "base/bytes.h"
#include "tools/commands.h"
#include "tools/segment_view.h"

namespace strata::tools {
namespace {

Json to_json(const ReclaimDecision& decision) {
  return {{"uri", decision.uri.to_string()},
          {"orphan", decision.is_orphan},
          {"reclaimed", decision.was_reclaimed},
          {"bytes", decision.bytes},
          {"evidence", decision.evidence}};
}

Cell verdict(const ReclaimDecision& decision) {
  if (decision.was_reclaimed) return {"reclaimed", Tone::good};
  if (decision.is_orphan) return {"orphan", Tone::warning};
  return {"kept", Tone::dim};
}

struct Options {
  bool dry_run = false;
  std::string ended_job;

  ReclaimOptions to_reclaim_options() const {
    ReclaimOptions options{.dry_run = dry_run, .job_oracle = {}};
    if (ended_job.empty()) return options;
    options.job_oracle = [ended = ended_job](std::string_view job) -> JobState {
      if (job != ended) return {};
      return {JobState::Kind::ended, "said so on the command line"};
    };
    return options;
  }
};

Result<ExitCode> gc(Context& context, const Options& options) {
  Table table({{"SEGMENT"}, {"VERDICT"}, {"SIZE", Align::right}, {"EVIDENCE"}});
  Json list = Json::array();
  std::uint64_t orphans = 0;
  std::uint64_t orphan_bytes = 0;
  for (const auto& backend : context.catalog().backends()) {
    auto decisions = backend->reclaim(options.to_reclaim_options());
    if (!decisions && decisions.error().code() == Code::unsupported) continue;
    if (!decisions) return unexpected(decisions.error());
    for (const ReclaimDecision& decision : *decisions) {
      table.add({decision.uri.to_string(), verdict(decision), format_bytes(decision.bytes),
                 decision.evidence});
      list.push_back(to_json(decision));
      orphans += decision.is_orphan ? 1 : 0;
      orphan_bytes += decision.is_orphan ? decision.bytes : 0;
    }
  }
  Output& output = context.output();
  output.json({{"dry_run", options.dry_run}, {"candidates", list}});
  if (!table.empty()) output.print(table);
  const std::string what = std::to_string(orphans) + (orphans == 1 ? " orphan" : " orphans") +
                           (orphans == 0 ? "" : ", " + format_bytes(orphan_bytes));
  output.line((options.dry_run ? "would reclaim " : "reclaimed ") + what);
  return ExitCode::done;
}

}  // namespace

void add_gc(Commands& commands) {
  const auto options = std::make_shared<Options>();
  commands
      .add("gc", "Reclaim what is proven to be orphaned, and show the evidence.",
           "strata gc --dry-run\nstrata gc\nstrata gc --job 4711    # segments of that "
           "job, which has ended",
           [options](Context& context) { return gc(context, *options); })
      .flag("--dry-run", options->dry_run, "decide and show, but change nothing")
      .option("--job", options->ended_job, "this job has ended", "ID");
}

}  // namespace strata::tools
