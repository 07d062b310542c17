// `strata gpu ls|info|explain`: what looks at GPUs and device segments, and changes nothing.
#include <fmt/format.h>

#include <algorithm>

#include "gpu/explain.h"
#include "gpu/timeline_stat.h"
#include "strata/base/bytes.h"
#include "strata/gpu/timeline.h"
#include "tools/gpu/gpu_commands.h"
#include "tools/view/gpu_view.h"
#include "tools/view/segment_view.h"

namespace strata::inline v0_1::tools {
namespace {

// A device segment, and who keeps its memory from being freed.
struct Pinned {
  SegmentStat stat;
  Result<std::vector<cuda::Consumer>> consumers;
};

bool is_on(const Pinned& pinned, const GpuRow& gpu) {
  return pinned.stat.device && pinned.stat.device->pci_address == gpu.pci_address;
}

std::uint64_t bytes_on(const std::vector<Pinned>& segments, const GpuRow& gpu) {
  std::uint64_t bytes = 0;
  for (const Pinned& pinned : segments)
    bytes += is_on(pinned, gpu) ? pinned.stat.device->allocation_bytes : 0;
  return bytes;
}

Json pinned_json(const Pinned& pinned) {
  Json json = to_json(pinned.stat);
  if (pinned.consumers) {
    json["consumers"] = to_json(*pinned.consumers);
  } else {
    json["consumers"] = nullptr;
    json["consumers_problem"] = to_json(pinned.consumers.error());
  }
  return json;
}

Table gpus_table(const GpuList& list, const std::vector<Pinned>& segments) {
  Table table({{"GPU", Align::right},
               {"NAME"},
               {"UUID"},
               {"ADDRESS"},
               {"NODE", Align::right},
               {"MEMORY", Align::right},
               {"IN SEGMENTS", Align::right}});
  for (const GpuRow& gpu : list.gpus) {
    table.add({Cell(gpu.number ? std::to_string(*gpu.number) : "-", Tone::strong), gpu.name,
               gpu.uuid.empty() ? "-" : gpu.uuid, gpu.pci_address,
               gpu.node ? std::to_string(*gpu.node) : "-",
               gpu.total_bytes == 0 ? "-" : format_bytes(gpu.total_bytes),
               format_bytes(bytes_on(segments, gpu))});
  }
  return table;
}

std::string device_name(const GpuList& list, const DeviceStat& device) {
  for (const GpuRow& gpu : list.gpus)
    if (gpu.pci_address == device.pci_address && gpu.number) return std::to_string(*gpu.number);
  return device.pci_address;
}

Table segments_table(const GpuList& list, const std::vector<Pinned>& segments) {
  Table table({{"SEGMENT"},
               {"GPU", Align::right},
               {"BY"},
               {"STATE"},
               {"SIZE", Align::right},
               {"ON DEVICE", Align::right},
               {"PINNED BY"}});
  for (const Pinned& pinned : segments) {
    const SegmentStat& stat = pinned.stat;
    if (stat.problem || !stat.device) {
      const Cell state = stat.problem
                             ? Cell(std::string(code_name(stat.problem->code())), Tone::bad)
                             : state_cell(stat.state);
      table.add({stat.uri.to_string(), "-", "-", state, "-", "-", pinned_by(pinned.consumers)});
      continue;
    }
    table.add({Cell(stat.uri.to_string(), Tone::strong), device_name(list, *stat.device),
               std::string(mechanism_name(stat.device->mechanism)), state_cell(stat.state),
               format_bytes(stat.payload_bytes), format_bytes(stat.device->allocation_bytes),
               pinned_by(pinned.consumers)});
  }
  return table;
}

Result<ExitCode> ls(Context& context) {
  const GpuList list = list_gpus(context);
  const SegmentList found = context.catalog().list({.scheme = "cuda"});
  std::vector<Pinned> segments;
  for (const SegmentStat& stat : found.segments)
    segments.push_back({stat, living_consumers(context, stat)});

  Json gpus = Json::array();
  for (const GpuRow& gpu : list.gpus) {
    Json json = to_json(gpu);
    json["segment_bytes"] = bytes_on(segments, gpu);
    gpus.push_back(std::move(json));
  }
  Json pinned = Json::array();
  for (const Pinned& each : segments)
    pinned.push_back(pinned_json(each));
  Output& output = context.output();
  output.json({{"driver", driver_json(list)},
               {"driver_problem", list.problem ? to_json(*list.problem) : Json()},
               {"gpus", gpus},
               {"segments", pinned},
               {"problems", to_json(found.problems)}});
  if (list.problem) output.note(list.problem->to_string());
  if (list.gpus.empty()) output.note("no GPU is to be seen");
  if (!list.gpus.empty()) output.print(gpus_table(list, segments));
  if (!segments.empty()) {
    if (!list.gpus.empty()) output.line("");
    output.print(segments_table(list, segments));
  }
  for (const BackendProblem& problem : found.problems)
    output.note("could not look into " + problem.where + ": " + problem.status.to_string());
  return found.problems.empty() ? ExitCode::done : ExitCode::unknown;
}

void add_consumers(Facts& facts, const Result<std::vector<cuda::Consumer>>& consumers) {
  facts.heading("who pins the memory");
  if (!consumers || consumers->empty()) {
    facts.add("", pinned_by(consumers));
    return;
  }
  for (const cuda::Consumer& each : *consumers) {
    facts.add(std::string(cuda::peer_role_name(each.role)),
              fmt::format("pid {} ({}), {}, since {}", each.pid, each.command,
                          each.access == Access::read_write ? "writes" : "reads",
                          utc_time(each.since_unix_ns)));
  }
}

using Slots = std::vector<cuda::TimelineSlotStat>;

Result<Slots> timeline_of(Context& context, const SegmentUri& uri) {
  STRATA_ASSIGN(const Fd header, cuda_backend(context).open_header(uri));
  return cuda::stat_timeline(context.os(), {header.get(), kLockBaseBytes});
}

std::string_view slot_word(const cuda::TimelineSlotStat& slot) {
  switch (slot.state) {
    case cuda::SlotState::live: return slot.is_owner_alive ? "live" : "its owner is gone";
    case cuda::SlotState::starting: return "starting";
    case cuda::SlotState::owner_died: return "poisoned: its owner died";
    case cuda::SlotState::given_up: return "poisoned: a deadline passed";
  }
  return "?";
}

Json timeline_json(const Result<Slots>& slots) {
  if (!slots) return nullptr;
  Json list = Json::array();
  for (const cuda::TimelineSlotStat& slot : *slots) {
    list.push_back({{"slot", slot.slot},
                    {"state", slot_word(slot)},
                    {"epoch", slot.epoch},
                    {"signalled", slot.signalled},
                    {"owner_pid", slot.owner_pid},
                    {"owner_alive", slot.is_owner_alive}});
  }
  return list;
}

void add_timeline(Facts& facts, const Slots& slots) {
  if (slots.empty()) return;
  facts.heading("timeline");
  for (const cuda::TimelineSlotStat& slot : slots) {
    facts.add(
        fmt::format("slot {}", slot.slot),
        fmt::format("signal {}, pid {}, {}", slot.signalled, slot.owner_pid, slot_word(slot)));
  }
}

Result<ExitCode> info(Context& context, const std::string& uri) {
  STRATA_ASSIGN(const SegmentUri parsed, device_uri(uri));
  STRATA_ASSIGN(const SegmentStat stat, context.catalog().stat(uri));
  const Result<Slots> timeline = timeline_of(context, parsed);
  const Pinned pinned{stat, living_consumers(context, stat)};
  Json json = pinned_json(pinned);
  json["timeline"] = timeline_json(timeline);
  context.output().json(json);
  if (stat.problem) return unexpected(stat.problem->in("info " + uri));

  Facts facts;
  facts.heading(stat.uri.to_string());
  facts.add("state", state_cell(stat.state));
  facts.add("size",
            fmt::format("{} ({} bytes)", format_bytes(stat.payload_bytes), stat.payload_bytes));
  facts.add("lifetime", std::string(lifetime_name(static_cast<Lifetime>(stat.identity.lifetime))));
  if (stat.device) add_device(facts, *stat.device);
  add_consumers(facts, pinned.consumers);
  if (timeline) add_timeline(facts, *timeline);
  context.output().print(facts);
  return ExitCode::done;
}

Json explanation_json(const Explanation& explanation) {
  Json mechanisms = Json::array();
  for (const ExplainedMechanism& each : explanation.mechanisms) {
    mechanisms.push_back({{"mechanism", mechanism_name(each.mechanism)},
                          {"chosen", each.is_chosen},
                          {"possible", each.is_possible},
                          {"why", each.why}});
  }
  return {{"device", explanation.device}, {"mechanisms", mechanisms}, {"notes", explanation.notes}};
}

struct ExplainOptions {
  std::string uri;
  std::string device;
};

Result<Explanation> explanation_of(Context& context, const ExplainOptions& options) {
  CudaBackend& backend = cuda_backend(context);
  if (options.uri.empty()) return explain_device(backend, options.device);
  STRATA_ASSIGN(const SegmentUri uri, device_uri(options.uri));
  return explain_segment(backend, uri);
}

Result<ExitCode> explain(Context& context, const ExplainOptions& options) {
  STRATA_ASSIGN(const Explanation explanation, explanation_of(context, options));
  Output& output = context.output();
  Json json = explanation_json(explanation);
  json["uri"] = options.uri.empty() ? Json() : Json(options.uri);
  output.json(json);
  output.line(
      fmt::format("{}{}{}", options.uri, options.uri.empty() ? "" : " on ", explanation.device));
  Table table({{"  WAY"}, {""}, {"WHY"}});
  for (const ExplainedMechanism& each : explanation.mechanisms) {
    // An existing segment has its way; a new one would have only one that can be taken.
    const bool is_chosen = each.is_chosen && (each.is_possible || !options.uri.empty());
    const Cell verdict = is_chosen          ? Cell("chosen", Tone::good)
                         : each.is_possible ? Cell("possible", Tone::dim)
                                            : Cell("not here", Tone::warning);
    table.add({fmt::format("  {}", mechanism_name(each.mechanism)), verdict, each.why});
  }
  if (!table.empty()) output.print(table);
  for (const std::string& note : explanation.notes)
    output.line("  " + note);
  return ExitCode::done;
}

}  // namespace

void add_gpu_looking(Commands& gpu) {
  gpu.add({.name = "ls",
           .summary = "list GPUs, and the segments in their memory",
           .description = "With who pins the memory of each segment. Needs no driver; with one it "
                          "also tells how CUDA counts the devices and how much memory they have.",
           .examples = "strata gpu ls\n"
                       "strata gpu ls --json",
           .other_names = {"list"}},
          ls);
  {
    const auto uri = std::make_shared<std::string>();
    gpu.add({.name = "info",
             .summary = "show all facts of a device segment",
             .description =
                 "How it is shared, on which device it is, who pins its memory, and what its "
                 "timeline says. Needs no driver.",
             .examples = "strata gpu info cuda:weights",
             .other_names = {"stat", "show"}},
            [uri](Context& context) { return info(context, *uri); })
        .word("URI", *uri, "the segment");
  }
  const auto options = std::make_shared<ExplainOptions>();
  gpu.add({.name = "explain",
           .summary = "say in which way device memory is shared, and why",
           .description =
               "The way that is taken, and those that are not, with the reasons: of a "
               "segment, or without a URI of one that would be made, which needs a driver.",
           .examples = "strata gpu explain cuda:weights\n"
                       "strata gpu explain --device 1"},
          [options](Context& context) { return explain(context, *options); })
      .optional_word("URI", options->uri, "the segment")
      .option("--device", options->device, "without a URI: what could be made on this GPU",
              "N|UUID");
}

void add_gpu(Commands& commands) {
  Commands gpu = commands.add_group(
      {.name = "gpu",
       .summary = "look at memory of GPUs that processes share",
       .description =
           "Segments in the memory of a GPU are made, filled and removed by the same commands as "
           "others, by cuda:NAME. These show what is special to them."});
  add_gpu_looking(gpu);
  add_gpu_hold(gpu);
  add_gpu_bench(gpu);
}

}  // namespace strata::inline v0_1::tools
