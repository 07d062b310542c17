#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "segment/attachment.h"
#include "strata/base/bytes.h"
#include "strata/heap/heap.h"
#include "tools/segment/segment_commands.h"
#include "tools/view/gpu_view.h"
#include "tools/view/heap_view.h"
#include "tools/view/segment_view.h"

namespace strata::inline v0_1::tools {
namespace {

constexpr const char* kHomeAndClear = "\033[H\033[J";

struct Options {
  double interval_s = 1;
  std::uint64_t rounds = 0;  // 0: until interrupted on a terminal, else one
};

struct Row {
  SegmentStat stat;
  std::uint64_t users = 0;
  std::uint64_t writers = 0;
  std::uint64_t allocated_bytes = 0;
  std::string hottest_lock;  // the one with most waits
  std::uint64_t waits = 0;   // of all locks that count
};

using Rows = std::map<std::string, Row>;

void count_consumers(Context& context, Row& row) {
  const auto consumers = living_consumers(context, row.stat);
  if (!consumers) return;
  for (const cuda::Consumer& each : *consumers) {
    ++row.users;
    const bool writes = each.role == cuda::PeerRole::consumer && each.access != Access::read_only;
    row.writers += writes ? 1 : 0;
  }
}

void look_inside(Context& context, Row& row) {
  // One that ends with its last user must not end because of a look at it.
  if (row.stat.problem || !row.stat.is_attached) return;
  if (is_device_memory(row.stat)) return count_consumers(context, row);
  auto segment = context.catalog().attach(row.stat.uri.to_string(),
                                          {.access = Access::read_only, .timeout_ms = 0});
  if (!segment) return;
  for (const Holder& holder :
       other_holders(context.os(), attachment_of(*segment).plane->lock_range())) {
    ++row.users;
    row.writers += holder.is_writer ? 1 : 0;
  }
  const auto heap = open_heap(*segment);
  if (!heap) return;
  if (const auto usage = heap->inspect()) row.allocated_bytes = usage->allocated_bytes;
  const auto locks = named_locks(*heap);
  if (!locks) return;
  std::uint64_t most = 0;
  for (const NamedLock& lock : *locks) {
    row.waits += lock.report.waits;
    if (lock.report.waits > most) {
      most = lock.report.waits;
      row.hottest_lock = lock.name;
    }
  }
}

Rows look(Context& context) {
  Rows rows;
  // What cannot be looked at is shown by ls.
  for (SegmentStat& stat : context.catalog().list().segments) {
    Row& row = rows[stat.uri.to_string()];
    row.stat = std::move(stat);
    look_inside(context, row);
  }
  return rows;
}

double rate(std::uint64_t before, std::uint64_t now, double seconds) {
  return seconds <= 0 ? 0 : (static_cast<double>(now) - static_cast<double>(before)) / seconds;
}

struct Rates {
  double memory_bytes_per_s = 0;
  double waits_per_s = 0;
};

Rates rates_of(const Rows& before, const std::string& uri, const Row& row, double seconds) {
  const auto earlier = before.find(uri);
  if (earlier == before.end()) return {};
  return {rate(earlier->second.stat.committed_bytes, row.stat.committed_bytes, seconds),
          rate(earlier->second.waits, row.waits, seconds)};
}

void show(Output& output, const Rows& before, const Rows& rows, double seconds) {
  constexpr std::size_t kDeviceColumn = 3;
  const bool has_devices = std::any_of(rows.begin(), rows.end(), [](const auto& each) {
    return is_device_memory(each.second.stat);
  });
  std::vector<Column> columns = {{"SEGMENT"},
                                 {"STATE"},
                                 {"IN MEMORY", Align::right},
                                 {"ON DEVICE", Align::right},
                                 {"PER S", Align::right},
                                 {"ALLOCATED", Align::right},
                                 {"USERS", Align::right},
                                 {"WRITERS", Align::right},
                                 {"LOCK WAITS/S", Align::right},
                                 {"MOST WAITED FOR"}};
  if (!has_devices) columns.erase(columns.begin() + kDeviceColumn);
  Table table(std::move(columns));
  Json list = Json::array();
  for (const auto& [uri, row] : rows) {
    const Rates rates = rates_of(before, uri, row, seconds);
    Json json = to_json(row.stat);
    json["users"] = row.users;
    json["writers"] = row.writers;
    json["allocated_bytes"] = row.allocated_bytes;
    json["memory_bytes_per_s"] = rates.memory_bytes_per_s;
    json["lock_waits_per_s"] = rates.waits_per_s;
    json["most_waited_for"] = row.hottest_lock;
    list.push_back(std::move(json));
    const auto grown = static_cast<std::uint64_t>(std::max(0.0, rates.memory_bytes_per_s));
    std::vector<Cell> cells = {Cell(uri, Tone::strong),
                               state_cell(row.stat.state),
                               format_bytes(row.stat.committed_bytes),
                               device_bytes_cell(row.stat),
                               grown == 0 ? "-" : format_bytes(grown),
                               row.allocated_bytes == 0 ? "-" : format_bytes(row.allocated_bytes),
                               std::to_string(row.users),
                               std::to_string(row.writers),
                               fmt::format("{:.0f}", rates.waits_per_s),
                               row.hottest_lock.empty() ? "-" : row.hottest_lock};
    if (!has_devices) cells.erase(cells.begin() + kDeviceColumn);
    table.add(std::move(cells));
  }
  output.json({{"segments", list}});
  if (rows.empty()) {
    output.note("no segments");
  } else {
    output.print(table);
  }
}

Result<ExitCode> watch(Context& context, const Options& options) {
  Output& output = context.output();
  const bool is_live = output.has_terminal() && !output.is_json();
  // Under --json one document: two looks, so that there are rates.
  const std::uint64_t rounds = options.rounds != 0 && !output.is_json() ? options.rounds
                               : is_live                                ? 0
                                                                        : 1;
  Rows before = look(context);
  std::uint64_t looked_ns = monotonic_ns();
  for (std::uint64_t round = 0; rounds == 0 || round < rounds; ++round) {
    context.os().sleep_ns(static_cast<std::uint64_t>(options.interval_s * 1e9));
    Rows rows = look(context);
    const std::uint64_t now_ns = monotonic_ns();
    if (is_live) output.picture(kHomeAndClear);
    show(output, before, rows, static_cast<double>(now_ns - looked_ns) / 1e9);
    std::fflush(stdout);
    before = std::move(rows);
    looked_ns = now_ns;
  }
  return ExitCode::done;
}

}  // namespace

void add_top(Commands& commands) {
  const auto options = std::make_shared<Options>();
  commands
      .add({.name = "top",
            .summary = "watch all segments, live",
            .description =
                "Who is attached, what grows, and which locks are waited for. On a terminal "
                "until Ctrl-C; elsewhere, and under --json, once after one interval.",
            .examples = "strata top\n"
                        "strata top --interval 0.2 --rounds 10\n"
                        "strata top --json    # one document",
            .other_names = {"watch", "monitor"}},
           [options](Context& context) { return watch(context, *options); })
      .seconds("--interval", options->interval_s, 0.01, 3600.0, "seconds between looks")
      .option("--rounds", options->rounds, "how often to show; without a terminal once", "N");
}

}  // namespace strata::inline v0_1::tools
