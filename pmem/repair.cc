#include "pmem/repair.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>

#include "pmem/copy_segments.h"
#include "pmem/directory_header.h"
#include "pmem/new_file.h"
#include "pmem/other_objects.h"
#include "pmem/pool_hold.h"
#include "pmem/salvage.h"
#include "strata/base/step.h"
#include "strata/pmem/snapshot.h"

namespace strata::inline v0_1 {
namespace {

constexpr const char* kKeptSuffix = ".damaged";

struct Survey {
  PoolHold hold;
  Salvage salvage;
  Result<OtherObjects> others;
};

Result<Survey> survey(Os& os, const std::string& path, const RepairOptions& options) {
  std::optional<Result<Salvage>> found;
  std::optional<Result<OtherObjects>> others;
  const auto look = [&](const PoolFile& file) -> Result<bool> {
    STRATA_TRY(require_known(file));
    found = salvage(file);
    others = look_for_other_objects(os, path,
                                    *found ? (*found)->object_offsets : std::set<std::uint64_t>{});
    return *others || others->error().code() != Code::timed_out;
  };
  const KeepOut whom = options.in_place ? KeepOut::everybody : KeepOut::writers;
  STRATA_ASSIGN(PoolHold hold, PoolHold::take_after(os, path, whom, options.deadline, look));
  if (!*found) return unexpected(found->error());
  return Survey{std::move(hold), std::move(**found), std::move(*others)};
}

// Objects of segments that nothing names any more are among what is lost; all else is somebody's.
Result<void> judge_others(const Survey& survey, const RepairOptions& options,
                          RepairReport& report) {
  report.heap_was_walked = survey.others.has_value();
  if (!survey.others) {
    report.lost.push_back(
        "objects that are no segments, if there were any: the heap could not be "
        "walked: " +
        survey.others.error().message());
    return {};
  }
  OtherObjects nameless, others;
  for (const OtherObjects::Kind& kind : survey.others->kinds)
    (kind.type == kSegmentObjectType ? nameless : others).kinds.push_back(kind);
  if (!nameless.empty()) {
    report.lost.push_back(
        fmt::format("{} of segments that neither the directory nor a header page "
                    "describes, {}",
                    count_of(nameless.count(), "object"), format_bytes(nameless.bytes())));
  }
  if (others.empty()) return {};
  if (!options.drop_objects) {
    return fail(
        Code::failed_precondition,
        fmt::format("the pool holds {}, which the repaired pool would not have. Nothing was "
                    "changed; with drop_objects (--drop-objects) they are left behind",
                    others.describe()));
  }
  report.lost.push_back(others.describe());
  return {};
}

Result<void> fill(Os& os, const Survey& survey, const NewFile& repaired, RepairReport& report) {
  const std::uint64_t bytes = survey.hold.file().file_bytes & ~(kPageBytes - 1);
  STRATA_ASSIGN(const Pool pool, Pool::create_in(os, repaired,
                                                 {.bytes = std::max(bytes, kMinPoolBytes),
                                                  .slots = survey.salvage.slots}));
  STRATA_ASSIGN(report.versions_kept,
                copy_segments(survey.hold.file(), survey.salvage.entries, pool, report.lost));
  STRATA_ASSIGN(report.check, check_pool(os, pool.path()));
  if (report.check.is_sound()) return {};
  return fail(Code::internal, "the repaired pool does not pass its own check");
}

// The damaged file gets its other name first, so that at every moment the name means one of them.
Result<std::string> swap_in(NewFile& repaired, const OldFile& damaged) {
  const bool was_kept = !damaged.kept_as(kKeptSuffix).empty();
  STRATA_ASSIGN(const std::string kept, damaged.keep_as(kKeptSuffix));
  STRATA_STEP("repair: damaged file has another name");
  if (auto done = repaired.replace(damaged); !done) {
    if (!was_kept) (void)damaged.os->unlink(kept);
    return unexpected(done.error());
  }
  return kept;
}

}  // namespace

Result<RepairReport> repair_pool(Os& os, const std::string& path, const RepairOptions& options) {
  const auto context = [&](const Status& status) {
    return unexpected(status.in("repair " + path));
  };
  RepairReport report;
  const auto build = [&]() -> Result<void> {
    if (options.in_place && !options.to.empty()) {
      return fail(Code::invalid_argument, "in place or to another file: one of the two");
    }
    STRATA_ASSIGN(const OldFile damaged, OldFile::find(os, path));
    report.path = !options.to.empty() ? options.to : path + ".repaired";
    if (options.in_place) {
      report.path = damaged.path;
      STRATA_TRY(damaged.require_no_other_names(damaged.kept_as(kKeptSuffix).empty() ? 1 : 2));
    } else if (os.stat(report.path)) {
      return fail(Code::already_exists, report.path + ": it exists");
    }
    STRATA_ASSIGN(Survey found, survey(os, damaged.path, options));
    report.directory_was_rebuilt = found.salvage.directory_was_rebuilt;
    report.lost = std::move(found.salvage.lost);
    STRATA_TRY(judge_others(found, options, report));
    STRATA_ASSIGN(NewFile repaired, NewFile::make(os, report.path));
    STRATA_TRY(fill(os, found, repaired, report));
    report.check.path = report.path;
    if (!options.in_place) return repaired.give_name(report.path);
    STRATA_ASSIGN(report.damaged_path, swap_in(repaired, damaged));
    return {};
  };
  if (auto done = build(); !done) return context(done.error());
  return report;
}

}  // namespace strata::inline v0_1
