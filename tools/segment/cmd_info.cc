#include <fmt/format.h>

#include "segment/attachment.h"
#include "strata/base/bytes.h"
#include "strata/segment/content_hash.h"
#include "tools/segment/segment_commands.h"
#include "tools/view/gpu_view.h"
#include "tools/view/segment_view.h"

namespace strata::inline v0_1::tools {
namespace {

// What only the header page of a readable segment tells.
struct Details {
  std::uint64_t generation = 0;
  std::optional<SealBlock> seal;
  std::string placement_now;  // as the last migration asked
  std::optional<PlacementReport> placement;
  std::vector<Holder> holders;
  LockReport lock = {};
  std::string_view lock_state;
};

void add_page_facts(Context& context, Details& details, const HeaderPage& page, LockRange range,
                    SegmentState state) {
  details.generation = page.live.generation.value.load();
  details.holders = other_holders(context.os(), range);
  const RobustMutex& lock = page.lock.mutex;
  details.lock = lock.report();
  details.lock_state =
      lock_state(context.os(), range, details.lock, lock.check().has_value(), details.generation);
  if (state != SegmentState::sealed) return;
  if (const auto seal = read_seal_block(page)) details.seal = *seal;
}

// To attach would take a driver and map memory of the device: its header is read instead.
std::optional<Details> look_at_device_header(Context& context, const SegmentStat& stat) {
  const auto header = cuda_backend(context).open_header(stat.uri);
  if (!header) return std::nullopt;
  alignas(HeaderPage) std::array<std::byte, kHeaderBytes> bytes{};
  const auto read = context.os().pread(header->get(), bytes, 0);
  if (!read || *read != bytes.size()) return std::nullopt;
  Details details;
  add_page_facts(context, details, *reinterpret_cast<const HeaderPage*>(bytes.data()),
                 {header->get(), kLockBaseBytes}, stat.state);
  return details;
}

// Touches the header page and nothing else. A segment that ends when the last user lets go must
// not end because somebody had a look at it: it is left alone unless others hold it.
std::optional<Details> look(Context& context, const SegmentStat& stat) {
  if (is_device_memory(stat)) return look_at_device_header(context, stat);
  const bool is_fragile =
      static_cast<Lifetime>(stat.identity.lifetime) == Lifetime::last_detach && !stat.is_attached;
  if (stat.problem || is_fragile) return std::nullopt;
  const auto segment = context.catalog().attach(stat.uri.to_string(),
                                                {.access = Access::read_only, .timeout_ms = 0});
  if (!segment) return std::nullopt;
  const HeaderPage& page = header_page_of(*segment);
  Details details;
  add_page_facts(context, details, page, attachment_of(*segment).plane->lock_range(),
                 segment->state());
  details.placement_now = placement_now(page, segment->identity());
  if (auto placed = load_report(page.placement)) details.placement = std::move(*placed);
  return details;
}

std::string nodes_text(const PlacementReport& report) {
  std::string text;
  for (const NodePages& share : report.pages_on_node) {
    text += fmt::format("{}node {}: {}", text.empty() ? "" : ", ", share.node,
                        format_bytes(share.pages * kPageBytes));
  }
  if (report.pages_absent != 0) {
    text += fmt::format("{}not in memory: {}", text.empty() ? "" : ", ",
                        format_bytes(report.pages_absent * kPageBytes));
  }
  return text;
}

void add_details(Json& json, const Details& details) {
  json["generation"] = details.generation;
  json["placement_now"] = details.placement_now;
  if (details.seal) {
    json["seal"] = {{"bytes", details.seal->sealed_bytes}, {"xxh3", hash_text(details.seal->hash)}};
  } else {
    json["seal"] = nullptr;
  }
  if (details.placement) {
    Json nodes = Json::array();
    for (const NodePages& share : details.placement->pages_on_node)
      nodes.push_back({{"node", share.node}, {"bytes", share.pages * kPageBytes}});
    json["placed"] = {{"nodes", nodes},
                      {"absent_bytes", details.placement->pages_absent * kPageBytes},
                      {"huge_bytes", details.placement->huge_bytes}};
  } else {
    json["placed"] = nullptr;
  }
  json["holders"] = to_json(details.holders);
  json["lock"] = {{"state", details.lock_state},
                  {"last_holder_pid", details.lock.holder_pid},
                  {"owner_deaths", details.lock.owner_deaths}};
}

void add_identity(Facts& facts, const SegmentStat& stat) {
  const IdentityBlock& identity = stat.identity;
  facts.add("state", state_cell(stat.state));
  facts.add("size",
            fmt::format("{} ({} bytes)", format_bytes(stat.payload_bytes), stat.payload_bytes));
  if (!stat.content) {
    facts.add("content", Cell(stat.content.error().message(), Tone::bad));
  } else if (!stat.content->is_plain()) {
    facts.add("content", stat.content->to_string());
  }
  if (identity.max_bytes > stat.payload_bytes)
    facts.add("may grow to", format_bytes(identity.max_bytes));
  facts.add("in memory", format_bytes(stat.committed_bytes));
  facts.add("lifetime", std::string(lifetime_name(static_cast<Lifetime>(identity.lifetime))));
  if (identity.job_id[0] != '\0') facts.add("job", std::string(padded_text(identity.job_id)));
  facts.add("access", fmt::format("{:04o}, uid {}", stat.mode & 07777U, stat.owner_uid));
  facts.add("created",
            utc_time(identity.created_unix_ns) + ", " + age(identity.created_unix_ns) + " ago");
  facts.add("creator", fmt::format("pid {}, {}", identity.creator_pid,
                                   stat.is_creator_alive ? "alive" : "gone"));
  facts.add("uuid", uuid_text(identity.uuid));
  facts.add("format", fmt::format("{}.{}", identity.version_major, identity.version_minor));
}

void add_placement(Facts& facts, const SegmentStat& stat, const Details& details) {
  facts.heading("placement");
  facts.add("asked", std::string(padded_text(stat.identity.placement)));
  if (details.placement_now != padded_text(stat.identity.placement))
    facts.add("moved to", details.placement_now);
  facts.add("pages", std::string(page_size_name(static_cast<PageSize>(stat.identity.page_size))));
  if (details.placement) {
    facts.add("got", nodes_text(*details.placement));
    if (details.placement->huge_bytes != 0)
      facts.add("on huge pages", format_bytes(details.placement->huge_bytes));
  }
}

void add_details(Facts& facts, const SegmentStat& stat, const Details& details) {
  if (details.seal) facts.add("xxh3", hash_text(details.seal->hash));
  if (is_device_memory(stat)) {
    facts.heading("device");
    if (stat.device) add_device(facts, *stat.device);
  } else {
    add_placement(facts, stat, details);
  }
  facts.heading("use");
  facts.add("generation", std::to_string(details.generation));
  if (details.holders.empty()) {
    facts.add("attached", stat.is_attached ? Cell("by processes that cannot be seen from here")
                                           : Cell("nobody", Tone::dim));
  }
  if (details.lock_state != "free") {
    facts.add("lock",
              fmt::format("{}, last taken by pid {}", details.lock_state, details.lock.holder_pid));
  }
  for (const Holder& holder : details.holders) {
    facts.add("attached", fmt::format("pid {} ({}), {}", holder.pid, holder.command,
                                      holder.is_writer ? "writes" : "reads"));
  }
}

Result<ExitCode> info(Context& context, const std::string& uri) {
  STRATA_ASSIGN(const SegmentStat stat, context.catalog().stat(uri));
  const std::optional<Details> details = look(context, stat);
  Json json = to_json(stat);
  if (details) add_details(json, *details);
  context.output().json(json);
  if (stat.problem) return unexpected(stat.problem->in("info " + uri));

  Facts facts;
  facts.heading(stat.uri.to_string());
  add_identity(facts, stat);
  if (details) add_details(facts, stat, *details);
  context.output().print(facts);
  return ExitCode::done;
}

}  // namespace

void add_info(Commands& commands) {
  const auto uri = std::make_shared<std::string>();
  commands
      .add({.name = "info",
            .summary = "show all facts of one segment",
            .description = "Size, lifetime, owner, placement, and who is attached. Touches "
                           "its header page only, so that it is as fast for a large segment.",
            .examples = "strata info shm:mesh\n"
                        "strata info shm:mesh --json",
            .other_names = {"stat", "show"}},
           [uri](Context& context) { return info(context, *uri); })
      .word("URI", *uri, "the segment");
}

}  // namespace strata::inline v0_1::tools
