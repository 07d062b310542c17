// `strata pool info|ls|check|repair`: what looks at a pool, and what mends it.
#include <fmt/format.h>

#include "pmem/pmem_backend.h"
#include "pmem/pool_check.h"
#include "pmem/repair.h"
#include "strata/base/bytes.h"
#include "tools/pool/pool_commands.h"
#include "tools/pool/pool_view.h"
#include "tools/view/segment_check.h"
#include "tools/view/verdict.h"

namespace strata::inline v0_1::tools {
namespace {

struct InfoFlags {
  std::string path;
  std::string svg;
};

// What is in a pool. A change that its process did not live to end is completed or rolled back
// first, as by any other use.
Result<PoolInfo> look(Context& context, const std::string& path) {
  STRATA_ASSIGN(const PoolInfo facts, inspect(context.os(), path));
  if (facts.problem.empty() || !facts.is_in_change) return facts;
  if (!Pool::at(context.os(), path).directory()) return facts;
  return inspect(context.os(), path);
}

Result<ExitCode> info(Context& context, const InfoFlags& flags) {
  STRATA_ASSIGN(const PoolInfo facts, look(context, flags.path));
  if (!flags.svg.empty()) {
    if (facts.kind != "strata" || !facts.problem.empty()) {
      return fail(Code::unsupported, flags.path + ": only a sound Strata pool can be drawn");
    }
    STRATA_TRY(save_svg(context.os(), flags.svg, draw_pool(facts)));
  }
  context.output().json(to_json(facts));
  context.output().print(pool_facts(facts));
  if (!facts.segments.empty()) context.output().print(segment_table(facts));
  return facts.problem.empty() ? ExitCode::done : ExitCode::failed;
}

Result<ExitCode> list(Context& context, const std::string& path) {
  STRATA_ASSIGN(const PoolInfo facts, look(context, path));
  STRATA_TRY(require_strata_pool(facts));
  if (!facts.problem.empty()) {
    return fail(facts.problem_code, path + ": " + facts.problem);
  }
  Json segments = Json::array();
  for (const PoolSegmentInfo& segment : facts.segments)
    segments.push_back(to_json(segment));
  context.output().json({{"path", path}, {"segments", segments}});
  if (facts.segments.empty()) {
    context.output().note("no segments");
  } else {
    context.output().print(segment_table(facts));
  }
  return ExitCode::done;
}

struct CheckFlags {
  std::string path;
  bool is_quick = false;
  std::uint64_t timeout_ms = 5'000;
};

// What is in one version: pmem/ knows nothing of heaps.
CheckItem check_version(Context& context, PmemBackend& backend, const std::string& path,
                        const PoolSegmentInfo& version) {
  CheckItem item = {.what = fmt::format("content of {} version {}", version.name, version.version),
                    .outcome = CheckOutcome::sound,
                    .detail = {}};
  auto segment = backend.attach_version({"pmem", path, version.name}, version.version,
                                        {.access = Access::read_only});
  if (!segment) {
    // Between the directory's look and this one it may have been replaced or removed.
    const Code code = segment.error().code();
    item.outcome = code == Code::not_found ? CheckOutcome::gone : outcome_of(code);
    item.detail = segment.error().message();
    return item;
  }
  const SegmentCheck found = check_content(context.os(), *segment);
  item.outcome = found.verdict;
  const auto add = [&](const std::string& text) {
    item.detail += (item.detail.empty() ? "" : "; ") + text;
  };
  for (const SegmentCheck::Finding& finding : found.findings)
    add(fmt::format("{}: {} {}", finding_word(finding), finding.part, finding.text));
  for (const std::string& verified : found.verified)
    add(verified);
  return item;
}

Result<void> check_contents(Context& context, CheckReport& report) {
  if (report.segments_checked == 0) return {};
  if (report.is_interrupted) {
    report.items.push_back({"contents", CheckOutcome::unknown,
                            "attaching would complete the interrupted change, or roll it back, and "
                            "so change the pool: use it once, then check again"});
    return {};
  }
  STRATA_ASSIGN(const PoolInfo facts, inspect(context.os(), report.path));
  PmemBackend backend(context.os());
  for (const PoolSegmentInfo& version : facts.segments) {
    const bool is_readable =
        version.state == EntryState::current || version.state == EntryState::previous;
    if (is_readable && version.problem.empty()) {
      report.items.push_back(check_version(context, backend, report.path, version));
    }
  }
  return {};
}

Result<ExitCode> check(Context& context, const CheckFlags& flags) {
  STRATA_ASSIGN(CheckReport report,
                check_pool(context.os(), flags.path,
                           {.read_blocks = !flags.is_quick, .lock_timeout_ms = flags.timeout_ms}));
  if (auto looked = check_contents(context, report); !looked) {
    report.items.push_back(
        {"contents", outcome_of(looked.error().code()), looked.error().message()});
  }
  context.output().json(to_json(report));
  context.output().print(check_table(report));
  context.output().line(fmt::format("{}: {}, {}, {} verified", report.path,
                                    verdict_word(report.verdict()),
                                    count_of(report.segments_checked, "segment version"),
                                    count_of(report.blocks_verified, "block")));
  context.output().picture(verdict_advice(report.verdict()));
  return exit_code_of(report.verdict());
}

Result<ExitCode> repair(Context& context, const std::string& path, const RepairOptions& options) {
  STRATA_ASSIGN(const PoolInfo facts, inspect(context.os(), path));
  // One that cannot be told any more may still hold segments.
  if (facts.kind != "none") STRATA_TRY(require_strata_pool(facts));
  STRATA_ASSIGN(const RepairReport report, repair_pool(context.os(), path, options));
  Json json = {{"path", report.path},
               {"versions_kept", report.versions_kept},
               {"directory_was_rebuilt", report.directory_was_rebuilt},
               {"heap_was_walked", report.heap_was_walked},
               {"lost", report.lost},
               {"check", to_json(report.check)}};
  json["damaged_path"] = report.damaged_path.empty() ? Json(nullptr) : Json(report.damaged_path);
  context.output().json(json);
  context.output().line(fmt::format("{}: {} kept; it opens and is sound", report.path,
                                    count_of(report.versions_kept, "segment version")));
  for (const std::string& lost : report.lost)
    context.output().line(fmt::format("  lost: {}", lost));
  if (!report.damaged_path.empty()) {
    context.output().line(fmt::format("  the damaged pool is {}", report.damaged_path));
  }
  // Whoever drops what they never knew of says so.
  const bool may_have_lost = !report.heap_was_walked && !options.drop_objects;
  return may_have_lost ? ExitCode::failed : ExitCode::done;
}

}  // namespace

void add_pool_looking(Commands& pool) {
  const auto info_flags = std::make_shared<InfoFlags>();
  pool.add({.name = "info",
            .summary = "say what a pool is and what is in it",
            .description =
                "Knows the pools of other programs with PMDK too, and says whose they are. "
                "With --svg it draws what lies where in the file.",
            .examples = "strata pool info run.pool\n"
                        "strata pool info run.pool --svg run.svg",
            .other_names = {"stat", "show"}},
           [info_flags](Context& context) { return info(context, *info_flags); })
      .word("PATH", info_flags->path, "the pool's file")
      .option("--svg", info_flags->svg, "draw what lies where in its file", "FILE");

  const auto list_path = std::make_shared<std::string>();
  pool.add(
          {.name = "ls",
           .summary = "list all versions of all segments in a pool",
           .description = "The current one of each, and the older ones that `strata pool rollback` "
                          "can bring back.",
           .examples = "strata pool ls run.pool\n"
                       "strata pool ls run.pool --json",
           .other_names = {"list"}},
          [list_path](Context& context) { return list(context, *list_path); })
      .word("PATH", *list_path, "the pool's file");

  const auto check_flags = std::make_shared<CheckFlags>();
  pool.add({.name = "check",
            .summary = "look whether a pool is as it must be",
            .description =
                "Header, heap and directory, and in each version of each segment its "
                "header, blocks, heap, objects and transaction log; changes nothing. It "
                "waits for a pool that others hold (--timeout-ms). What follows should ask "
                "for the status that it means.",
            .examples = "strata pool check run.pool\n"
                        "strata pool check run.pool; [ $? -eq 1 ] && strata pool repair run.pool",
            .exit_status =
                "0  sound: every part was looked at, and is as it must be\n"
                "1  damaged: some part is proved to be wrong; also a file that is the pool of "
                "another program\n"
                "2  usage: the command line cannot mean anything\n"
                "3  not found: no such file\n"
                "4  busy: others hold or change it, so that not all was checked; try again\n"
                "5  unknown: some part could not be looked at; nothing that was is wrong",
            .other_names = {"fsck", "verify"}},
           [check_flags](Context& context) { return check(context, *check_flags); })
      .word("PATH", check_flags->path, "the pool's file")
      .flag("--quick", check_flags->is_quick, "do not read the blocks")
      .option_with_default("--timeout-ms", check_flags->timeout_ms,
                           "how long to wait for a pool that others hold", "MS");

  const auto repair_path = std::make_shared<std::string>();
  const auto repair_options = std::make_shared<RepairOptions>();
  pool.add({.name = "repair",
            .summary = "write a sound copy of what can be read of a pool",
            .description =
                "The copy is opened and checked before the command says that it is sound. "
                "The damaged pool is never changed: with --in-place the copy takes its name "
                "and the damaged file is kept beside it.\n\n"
                "A pool with objects that are no segments, such as a typed root, is "
                "refused, since they would be left behind; --drop-objects says that they "
                "may be. Exit status 1 where the heap could not be walked to look for such "
                "objects.",
            .examples = "strata pool repair run.pool\n"
                        "strata pool repair run.pool --to sound.pool\n"
                        "strata pool repair run.pool --in-place",
            .other_names = {"fix", "recover", "salvage"}},
           [=](Context& context) { return repair(context, *repair_path, *repair_options); })
      .word("PATH", *repair_path, "the pool's file")
      .option("--to", repair_options->to, "the copy (default PATH.repaired)", "FILE")
      .flag("--in-place", repair_options->in_place,
            "put it in the place of the damaged one, which is kept")
      .flag("--drop-objects", repair_options->drop_objects,
            "leave objects behind that are no segments, such as a typed root");
}

void add_pool(Commands& commands) {
  Commands pool = commands.add_group(
      {.name = "pool",
       .summary = "make and look after pools: files of segments that survive",
       .description =
           "A pool is a file of named segments that survive restarts, kills and power failures. "
           "It is a standard libpmemobj pool. The other commands work on its segments too, by "
           "pmem:PATH#NAME; quote that, since # means something to a shell."});
  add_pool_looking(pool);
  add_pool_dump(pool);
  add_pool_making(pool);
  add_pool_transfers(pool);
}

}  // namespace strata::inline v0_1::tools
