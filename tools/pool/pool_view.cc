#include "tools/pool/pool_view.h"

#include <fmt/format.h>

#include <algorithm>

#include "strata/base/bytes.h"
#include "tools/view/segment_view.h"
#include "tools/view/verdict.h"

namespace strata::inline v0_1::tools {
namespace {

Cell problem_or(const std::string& problem, const std::string& text) {
  return problem.empty() ? Cell(text) : Cell(problem, Tone::bad);
}

std::string problem_word(const PoolSegmentInfo& segment) {
  return segment.problem_code == Code::corrupt ? "damaged"
                                               : std::string(code_name(segment.problem_code));
}

}  // namespace

Json to_json(const PoolSegmentInfo& segment) {
  Json json = {{"name", segment.name},
               {"version", segment.version},
               {"state", entry_state_name(segment.state)},
               {"segment_state", state_name(segment.segment_state)},
               {"slot", segment.slot},
               {"uuid", segment.uuid},
               {"payload_bytes", segment.payload_bytes},
               {"max_bytes", segment.max_bytes},
               {"object_offset_bytes", segment.object_offset_bytes},
               {"object_bytes", segment.object_bytes},
               {"payload_offset_bytes", segment.payload_offset_bytes},
               {"is_immutable", segment.is_immutable},
               {"checksum_block_bytes", segment.checksum_block_bytes},
               {"is_attached", segment.is_attached},
               {"is_attached_for_writing", segment.is_attached_for_writing},
               {"published_unix_ns", segment.published_unix_ns}};
  json["problem"] = segment.problem.empty() ? Json(nullptr) : Json(segment.problem);
  return json;
}

Json to_json(const PoolInfo& info) {
  Json segments = Json::array();
  for (const PoolSegmentInfo& segment : info.segments)
    segments.push_back(to_json(segment));
  Json json = {{"path", info.path},
               {"kind", info.kind},
               {"file_bytes", info.file_bytes},
               {"pmdk_version", info.pmdk_version},
               {"layout", info.layout},
               {"pmdk_uuid", info.pmdk_uuid}};
  json["file_system_warning"] =
      info.file_system_warning.empty() ? Json(nullptr) : Json(info.file_system_warning);
  json["problem"] = info.problem.empty() ? Json(nullptr) : Json(info.problem);
  json["problem_code"] =
      info.problem.empty() ? Json(nullptr) : Json(std::string(code_name(info.problem_code)));
  if (info.kind != "strata") return json;
  json["version"] = fmt::format("{}.{}", info.version_major, info.version_minor);
  json["uuid"] = info.uuid;
  json["slots"] = info.slots;
  json["used_slots"] = info.used_slots;
  json["changes"] = info.changes;
  json["is_in_change"] = info.is_in_change;
  json["unknown_read_only_features"] = info.unknown_read_only_features;
  json["directory_offset_bytes"] = info.directory_offset_bytes;
  json["heap_offset_bytes"] = info.heap_offset_bytes;
  json["segments"] = segments;
  return json;
}

Json to_json(const CheckReport& report) {
  Json items = Json::array();
  for (const CheckItem& item : report.items) {
    items.push_back(
        {{"what", item.what}, {"outcome", outcome_name(item.outcome)}, {"detail", item.detail}});
  }
  Json others = Json::array();
  for (const OtherObjects::Kind& each : report.other_objects.kinds)
    others.push_back({{"type", each.type}, {"count", each.count}, {"bytes", each.bytes}});
  return {{"path", report.path},
          {"verdict", outcome_name(report.verdict())},
          {"is_sound", report.is_sound()},
          {"is_interrupted", report.is_interrupted},
          {"other_objects", others},
          {"segments_checked", report.segments_checked},
          {"blocks_verified", report.blocks_verified},
          {"items", items}};
}

Table segment_table(const PoolInfo& info) {
  Table table({{"SEGMENT"},
               {"VERSION", Align::right},
               {"IS"},
               {"STATE"},
               {"SIZE", Align::right},
               {"ROOM", Align::right},
               {"CHECKSUMS"},
               {"USED BY"},
               {"AGE", Align::right}});
  for (const PoolSegmentInfo& segment : info.segments) {
    if (!segment.problem.empty()) {
      table.add({Cell(segment.name, Tone::strong), fmt::format("{}", segment.version),
                 Cell(problem_word(segment), Tone::bad), Cell(segment.problem, Tone::bad)});
      continue;
    }
    table.add({Cell(segment.name, Tone::strong), fmt::format("{}", segment.version),
               std::string(entry_state_name(segment.state)), state_cell(segment.segment_state),
               format_bytes(segment.payload_bytes), format_bytes(segment.object_bytes),
               segment.checksum_block_bytes
                   ? fmt::format("every {}", format_bytes(segment.checksum_block_bytes))
                   : std::string("-"),
               segment.is_attached_for_writing ? "writers"
               : segment.is_attached           ? "readers"
                                               : "-",
               segment.published_unix_ns ? age(segment.published_unix_ns) : std::string("-")});
  }
  return table;
}

Facts pool_facts(const PoolInfo& info) {
  Facts facts;
  facts.heading(info.path);
  facts.add("kind", info.kind == "strata" ? std::string("Strata pool (libpmemobj)")
                    : info.kind == "none" ? std::string("no pool")
                                          : info.kind + " pool");
  facts.add("size", format_bytes(info.file_bytes));
  if (info.pmdk_version != 0) {
    facts.add("PMDK version", fmt::format("{}", info.pmdk_version));
    facts.add("PMDK uuid", info.pmdk_uuid);
  }
  if (!info.layout.empty()) facts.add("layout", info.layout);
  if (!info.file_system_warning.empty()) {
    facts.add("warning", Cell(info.file_system_warning, Tone::warning));
  }
  if (info.kind == "strata" && info.problem.empty()) {
    facts.add("format", fmt::format("{}.{}", info.version_major, info.version_minor));
    facts.add("uuid", info.uuid);
    facts.add("slots", fmt::format("{} of {} used", info.used_slots, info.slots));
    facts.add("changes", fmt::format("{}", info.changes));
    if (info.is_in_change) facts.add("directory", Cell("being changed", Tone::warning));
    if (info.unknown_read_only_features != 0) {
      facts.add("can be read only",
                Cell(fmt::format("read-only features {:#x} are unknown: use a newer strata to "
                                 "change it",
                                 info.unknown_read_only_features),
                     Tone::warning));
    }
  }
  if (!info.problem.empty()) facts.add("problem", problem_or(info.problem, ""));
  return facts;
}

Table check_table(const CheckReport& report) {
  Table table({{"WHAT"}, {"OUTCOME"}, {"DETAIL"}});
  for (const CheckItem& item : report.items) {
    table.add({item.what, Cell(std::string(outcome_name(item.outcome)), outcome_tone(item.outcome)),
               item.detail});
  }
  return table;
}

}  // namespace strata::inline v0_1::tools
