// What reclaiming needs to be told, and what it decided.
//   Threads:  values.
// A segment is an orphan only where that is proven: by a kernel lock that its holder's death
// released or, for segments of a job, by whoever knows the jobs.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "strata/segment/segment_stat.h"
#include "strata/segment/uri.h"

#pragma GCC visibility push(default)
namespace strata::inline v0_1 {

// What is known of a job.
struct JobState {
  enum class Kind : std::uint8_t { alive, ended, unknown };
  Kind kind = Kind::unknown;
  std::string evidence = {};  // who says so, for people: "squeue does not list it"
};

// Asked twice of each segment that is reclaimed, the second time under its locks: it must be quick,
// and not change its mind from ended to alive. `job_id` comes from a header that others can write.
using JobOracle = std::function<JobState(std::string_view job_id)>;

struct ReclaimOptions {
  bool dry_run = false;
  JobOracle job_oracle = {};  // none: of every job it is unknown whether it has ended
  // Pools to look at besides those that the backends know of.
  std::vector<std::string> containers = {};
};

// What was decided on one candidate, and on which evidence.
struct ReclaimDecision {
  SegmentUri uri;
  bool is_orphan = false;
  bool was_reclaimed = false;
  std::uint64_t bytes = 0;
  std::string evidence;
};

// Why a segment is an orphan, or why it is not, from facts and kernel locks. Where that leads to a
// removal, it is asked again under locks that keep attachers out.
ReclaimDecision judge(const SegmentStat& stat, const ReclaimOptions& options);

}  // namespace strata::inline v0_1
#pragma GCC visibility pop
