#include "tools/view/segment_view.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <time.h>

#include <algorithm>

#include "strata/base/bytes.h"
#include "strata/gpu/device.h"
#include "strata/os/deadline.h"

namespace strata::inline v0_1::tools {

std::string_view lifetime_name(Lifetime lifetime) {
  switch (lifetime) {
    case Lifetime::process: return "process";
    case Lifetime::last_detach: return "last-detach";
    case Lifetime::job: return "job";
    case Lifetime::until_removed: return "until-removed";
  }
  return "?";
}

std::string_view page_size_name(PageSize size) {
  switch (size) {
    case PageSize::base: return "4K";
    case PageSize::thp: return "thp";
    case PageSize::huge_2m: return "2M";
    case PageSize::huge_1g: return "1G";
  }
  return "?";
}

Cell state_cell(SegmentState state) {
  const std::string name(state_name(state));
  switch (state) {
    case SegmentState::ready: return {name, Tone::good};
    case SegmentState::sealed: return {name, Tone::accent};
    case SegmentState::initialising: return {name, Tone::warning};
    case SegmentState::blank:
    case SegmentState::retired: return {name, Tone::dim};
  }
  return {name, Tone::dim};
}

Cell use_cell(const SegmentStat& stat) {
  if (stat.is_attached_for_writing) return {"writers", Tone::accent};
  if (stat.is_attached) return {"readers", Tone::accent};
  return {"-", Tone::dim};
}

bool is_device_memory(const SegmentStat& stat) {
  return !stat.problem && segment_kind(stat.identity.kind) == SegmentKind::cuda;
}

Cell device_bytes_cell(const SegmentStat& stat) {
  return stat.device ? Cell(format_bytes(stat.device->allocation_bytes)) : Cell("-");
}

Cell placement_cell(const SegmentStat& stat) {
  if (stat.device) return {fmt::format("GPU {}", stat.device->pci_address), Tone::plain};
  return {std::string(padded_text(stat.identity.placement)), Tone::plain};
}

Cell content_cell(const SegmentStat& stat) {
  if (!stat.content) return {std::string(code_name(stat.content.error().code())), Tone::bad};
  const Content& content = *stat.content;
  if (content.is_plain()) return {"-", Tone::dim};
  if (content.type != kArrayType) return {content.type, Tone::plain};
  return {fmt::format("{} {}", content.element, fmt::join(content.shape, "x")), Tone::plain};
}

std::string utc_time(std::uint64_t unix_ns) {
  const auto seconds = static_cast<time_t>(unix_ns / 1'000'000'000);
  struct tm parts {};
  if (gmtime_r(&seconds, &parts) == nullptr) return "?";
  return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}Z", parts.tm_year + 1900, parts.tm_mon + 1,
                     parts.tm_mday, parts.tm_hour, parts.tm_min, parts.tm_sec);
}

std::string age(std::uint64_t since_unix_ns) {
  const std::uint64_t then = since_unix_ns / 1'000'000'000;
  const std::uint64_t today = unix_ns() / 1'000'000'000;
  const std::uint64_t seconds = today > then ? today - then : 0;
  if (seconds < 60) return fmt::format("{} s", seconds);
  if (seconds < 3600) return fmt::format("{} min", seconds / 60);
  if (seconds < 86400) return fmt::format("{} h", seconds / 3600);
  return fmt::format("{} d", seconds / 86400);
}

Json to_json(const Status& status) {
  return {{"code", code_name(status.code())}, {"message", status.message()}};
}

Json to_json(const DeviceStat& device) {
  return {{"uuid", cuda::device_uuid_text(device.uuid)},
          {"address", device.pci_address},
          {"mechanism", mechanism_name(device.mechanism)},
          {"allocation_bytes", device.allocation_bytes},
          {"held", device.is_held}};
}

Json to_json(const Result<Content>& content) {
  if (!content) return {{"problem", to_json(content.error())}};
  if (content->is_plain()) return nullptr;
  Json json = {{"type", content->type}, {"dtype", nullptr}, {"shape", nullptr}};
  if (content->element.empty()) return json;
  json["dtype"] = content->element;
  json["shape"] = content->shape;
  return json;
}

Json to_json(const SegmentStat& stat) {
  Json json = {{"uri", stat.uri.to_string()}};
  if (stat.problem) {
    json["problem"] = to_json(*stat.problem);
    json["committed_bytes"] = stat.committed_bytes;
    json["owner_uid"] = stat.owner_uid;
    json["mode"] = fmt::format("{:04o}", stat.mode & 07777U);
    return json;
  }
  const IdentityBlock& identity = stat.identity;
  json["problem"] = nullptr;
  json["kind"] = kind_name(static_cast<SegmentKind>(identity.kind));
  json["state"] = state_name(stat.state);
  json["payload_bytes"] = stat.payload_bytes;
  json["content"] = to_json(stat.content);
  json["max_bytes"] = identity.max_bytes;
  json["committed_bytes"] = stat.committed_bytes;
  json["page_size"] = page_size_name(static_cast<PageSize>(identity.page_size));
  json["page_bytes"] = identity.page_bytes;
  json["placement"] = padded_text(identity.placement);
  json["device"] = stat.device ? to_json(*stat.device) : Json();
  json["lifetime"] = lifetime_name(static_cast<Lifetime>(identity.lifetime));
  json["job"] = padded_text(identity.job_id);
  json["owner_uid"] = stat.owner_uid;
  json["mode"] = fmt::format("{:04o}", stat.mode & 07777U);
  json["attached"] = stat.is_attached;
  json["attached_for_writing"] = stat.is_attached_for_writing;
  json["creator"] = {{"pid", identity.creator_pid},
                     {"uid", identity.creator_uid},
                     {"alive", stat.is_creator_alive}};
  json["created"] = utc_time(identity.created_unix_ns);
  json["uuid"] = uuid_text(identity.uuid);
  return json;
}

Json to_json(const std::vector<Holder>& holders) {
  Json list = Json::array();
  for (const Holder& holder : holders) {
    list.push_back({{"pid", holder.pid},
                    {"command", holder.command},
                    {"writes", holder.is_writer},
                    {"is_creator", holder.is_creator}});
  }
  return list;
}

Json to_json(const std::vector<BackendProblem>& problems) {
  Json list = Json::array();
  for (const BackendProblem& problem : problems) {
    Json json = {{"where", problem.where}};
    json.update(to_json(problem.status));
    list.push_back(std::move(json));
  }
  return list;
}

std::string unseen_text(const std::vector<BackendProblem>& problems) {
  if (problems.empty()) return "";
  return "; " + count_of(problems.size(), "place") + " could not be looked at";
}

Result<void> require(Catalog& catalog, const std::string& uri, Capability capability) {
  STRATA_ASSIGN(const SegmentUri parsed, SegmentUri::parse(uri));
  STRATA_ASSIGN(const Backend* const backend, catalog.backend(parsed.scheme));
  return backend->capabilities().require(capability);
}

std::string_view lock_state(Os& os, LockRange range, const LockReport& report, bool is_intact,
                            std::uint64_t generation) {
  if (!is_intact) return "corrupt";
  // What another generation left is a free lock.
  if (report.generation != static_cast<std::uint32_t>(generation)) return "free";
  if (report.is_unrepaired) return "unrepaired";
  if (report.token == 0) return "free";
  const auto is_alive = os.is_range_locked(range.fd, range.base_bytes + kTokenByte + report.token,
                                           1, LockKind::exclusive);
  return is_alive && !*is_alive ? "owner-died" : "held";
}

std::vector<Holder> other_holders(Os& os, LockRange range) {
  std::vector<Holder> holders = find_holders(os, range);
  const pid_t self = os.identity().pid;
  std::erase_if(holders, [self](const Holder& holder) { return holder.pid == self; });
  return holders;
}

}  // namespace strata::inline v0_1::tools
