#include "strata/segment/reclaim.h"

#include <fmt/format.h>

namespace strata::inline v0_1 {
namespace {

std::string creator_of(const SegmentStat& stat) {
  return fmt::format("creator pid {} is {}", stat.identity.creator_pid,
                     stat.is_creator_alive ? "alive" : "gone (its lock is free)");
}

std::string attached_text(const SegmentStat& stat) {
  return stat.is_attached ? "somebody is attached" : "nobody is attached";
}

struct JobVerdict {
  JobState::Kind kind;
  std::string text;
};

JobVerdict ask_of_job(const SegmentStat& stat, const ReclaimOptions& options) {
  const std::string_view id = padded_text(stat.identity.job_id);
  const JobState state = options.job_oracle ? options.job_oracle(id) : JobState{};
  const auto text = [&](std::string_view what) {
    return fmt::format("lifetime job, job {} {}{}{}", id, what, state.evidence.empty() ? "" : ": ",
                       state.evidence);
  };
  switch (state.kind) {
    case JobState::Kind::alive: return {state.kind, text("is alive")};
    case JobState::Kind::ended: return {state.kind, text("has ended")};
    case JobState::Kind::unknown: break;
  }
  return {JobState::Kind::unknown, text("is not known to have ended")};
}

}  // namespace

ReclaimDecision judge(const SegmentStat& stat, const ReclaimOptions& options) {
  ReclaimDecision decision;
  decision.uri = stat.uri;
  decision.bytes = stat.committed_bytes;
  if (stat.problem) {
    decision.evidence = "kept: " + stat.problem->message();
    return decision;
  }
  const auto orphan = [&](std::string evidence) {
    decision.is_orphan = true;
    decision.evidence = std::move(evidence);
    return decision;
  };
  const auto keep = [&](std::string evidence) {
    decision.evidence = "kept: " + std::move(evidence);
    return decision;
  };
  if (stat.state == SegmentState::retired) return orphan("its removal was not finished");
  if (stat.state == SegmentState::initialising || stat.state == SegmentState::blank) {
    return stat.is_creator_alive ? keep("being filled, " + creator_of(stat))
                                 : orphan("never published, " + creator_of(stat));
  }
  switch (static_cast<Lifetime>(stat.identity.lifetime)) {
    case Lifetime::process:
      return stat.is_creator_alive ? keep("lifetime process, " + creator_of(stat))
                                   : orphan("lifetime process, " + creator_of(stat));
    case Lifetime::last_detach:
      return stat.is_attached ? keep("lifetime last_detach, " + attached_text(stat))
                              : orphan("lifetime last_detach, " + attached_text(stat));
    case Lifetime::job: {
      const JobVerdict job = ask_of_job(stat, options);
      if (job.kind != JobState::Kind::ended) return keep(job.text);
      return stat.is_attached ? keep(fmt::format("{}, but {}", job.text, attached_text(stat)))
                              : orphan(fmt::format("{}, {}", job.text, attached_text(stat)));
    }
    case Lifetime::until_removed: break;
  }
  if (stat.identity.kind == static_cast<std::uint32_t>(SegmentKind::cuda) && !stat.is_attached) {
    return orphan("device memory is gone once " + attached_text(stat));
  }
  return keep("lifetime until_removed");
}

}  // namespace strata::inline v0_1
