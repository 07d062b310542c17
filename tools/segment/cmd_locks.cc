#include <fmt/format.h>

#include "segment/attachment.h"
#include "tools/segment/segment_commands.h"
#include "tools/view/heap_view.h"
#include "tools/view/segment_view.h"

namespace strata::inline v0_1::tools {
namespace {

Tone tone_of(std::string_view state) {
  if (state == "free") return Tone::dim;
  if (state == "held") return Tone::accent;
  return state == "corrupt" ? Tone::bad : Tone::warning;
}

std::string microseconds(std::uint64_t ns) {
  return fmt::format("{:.1f} µs", static_cast<double>(ns) / 1000);
}

Result<ExitCode> show(Context& context, const std::string& uri) {
  STRATA_TRY(require(context.catalog(), uri, Capability::heap));
  STRATA_ASSIGN(Segment segment, context.catalog().attach(uri, {.access = Access::read_only}));
  STRATA_ASSIGN(const Heap heap, open_heap(segment));
  STRATA_ASSIGN(const std::vector<NamedLock> locks, named_locks(heap));
  const std::uint64_t generation = segment.generation().load();
  const LockRange range = attachment_of(segment).plane->lock_range();
  Json list = Json::array();
  Table table({{"LOCK"},
               {"STATE"},
               {"LAST HOLDER", Align::right},
               {"WAITS", Align::right},
               {"WAITED", Align::right},
               {"LONGEST", Align::right},
               {"OWNERS DIED", Align::right}});
  for (const NamedLock& lock : locks) {
    const LockReport& report = lock.report;
    const std::string state(lock_state(context.os(), range, report, lock.is_intact, generation));
    list.push_back({{"name", lock.name},
                    {"state", state},
                    {"last_holder_pid", report.holder_pid},
                    {"counts_contention", report.counts_contention},
                    {"waits", report.waits},
                    {"total_wait_ns", report.total_wait_ns},
                    {"longest_wait_ns", report.longest_wait_ns},
                    {"longest_wait_pid", report.longest_wait_pid},
                    {"owner_deaths", report.owner_deaths}});
    const bool counts = report.counts_contention;
    table.add({Cell(lock.name, Tone::strong), Cell(state, tone_of(state)),
               report.holder_pid == 0 ? "-" : fmt::format("pid {}", report.holder_pid),
               counts ? std::to_string(report.waits) : "-",
               counts ? microseconds(report.total_wait_ns) : "-",
               counts ? microseconds(report.longest_wait_ns) : "-",
               counts ? std::to_string(report.owner_deaths) : "-"});
  }
  context.output().json({{"uri", uri}, {"locks", list}});
  if (locks.empty()) context.output().note("no named locks");
  if (!locks.empty()) context.output().print(table);
  return ExitCode::done;
}

}  // namespace

void add_locks(Commands& commands) {
  const auto uri = std::make_shared<std::string>();
  commands
      .add({.name = "locks",
            .summary = "list the named locks in a segment's heap",
            .description = "Who holds each, how often it was waited for, and how often its holder "
                           "died, where that is counted.",
            .examples = "strata locks shm:mesh\n"
                        "strata locks shm:mesh --json"},
           [uri](Context& context) { return show(context, *uri); })
      .word("URI", *uri, "the segment");
}

}  // namespace strata::inline v0_1::tools
