#include "strata/base/bytes.h"
#include "tools/segment/segment_commands.h"
#include "tools/view/segment_view.h"

namespace strata::inline v0_1::tools {
namespace {

Json decision_json(const ReclaimDecision& decision) {
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
  std::vector<std::string> pools;

  ReclaimOptions to_reclaim_options() const {
    ReclaimOptions options{.dry_run = dry_run, .job_oracle = {}, .containers = pools};
    if (ended_job.empty()) return options;
    options.job_oracle = [ended = ended_job](std::string_view job) -> JobState {
      if (job != ended) return {};
      return {JobState::Kind::ended, "said so on the command line"};
    };
    return options;
  }
};

// "2 orphans, 1.0 MiB"
std::string orphans_text(const std::vector<ReclaimDecision>& decisions, bool dry_run) {
  std::uint64_t count = 0;
  std::uint64_t bytes = 0;
  for (const ReclaimDecision& decision : decisions) {
    const bool counts = dry_run ? decision.is_orphan : decision.was_reclaimed;
    count += counts ? 1 : 0;
    bytes += counts ? decision.bytes : 0;
  }
  return count_of(count, "orphan") + (count == 0 ? "" : ", " + format_bytes(bytes));
}

Result<ExitCode> gc(Context& context, const Options& options) {
  const ReclaimReport report = context.catalog().reclaim(options.to_reclaim_options());
  Table table({{"SEGMENT"}, {"VERDICT"}, {"SIZE", Align::right}, {"EVIDENCE"}});
  Json candidates = Json::array();
  for (const ReclaimDecision& decision : report.decisions) {
    table.add({decision.uri.to_string(), verdict(decision), format_bytes(decision.bytes),
               decision.evidence});
    candidates.push_back(decision_json(decision));
  }
  for (const BackendProblem& problem : report.problems) {
    table.add({problem.where, Cell("could not look", Tone::bad), "-", problem.status.to_string()});
  }
  Output& output = context.output();
  output.json({{"dry_run", options.dry_run},
               {"candidates", candidates},
               {"problems", to_json(report.problems)}});
  if (!table.empty()) output.print(table);
  output.line((options.dry_run ? "would reclaim " : "reclaimed ") +
              orphans_text(report.decisions, options.dry_run) + unseen_text(report.problems));
  return report.problems.empty() ? ExitCode::done : ExitCode::unknown;
}

}  // namespace

void add_gc(Commands& commands) {
  const auto options = std::make_shared<Options>();
  commands
      .add({.name = "gc",
            .summary = "reclaim what is proven to be orphaned",
            .description =
                "Shows the evidence for each segment that it looked at. Proof is a kernel "
                "lock that its holder's death released, never a process number; where there "
                "is none the segment is kept. It looks at all of shared memory, and at the "
                "pools that you have used on this machine.\n\n"
                "A place that cannot be looked at is shown with the reason (exit status 5), "
                "and keeps nothing else back.",
            .examples = "strata gc --dry-run\n"
                        "strata gc\n"
                        "strata gc --job 4711    # segments of that job, which has ended\n"
                        "strata gc --pool /data/run.pool    # that pool too",
            .other_names = {"clean", "cleanup", "prune", "reclaim"}},
           [options](Context& context) { return gc(context, *options); })
      .flag("--dry-run", options->dry_run, "decide and show, but change nothing")
      .option("--job", options->ended_job, "this job has ended", "ID")
      .repeated("--pool", options->pools,
                "look at this pool too, whoever used it; may be said several times", "PATH");
}

}  // namespace strata::inline v0_1::tools
