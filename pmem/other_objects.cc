#include "pmem/other_objects.h"

#include <fmt/format.h>

#include <cinttypes>
#include <cstdio>
#include <map>

#include "os/run_apart.h"
#include "pmem/directory_change.h"
#include "pmem/pool_format.h"
#include "strata/base/bytes.h"

namespace strata::inline v0_1 {
namespace {

constexpr std::size_t kKindsInMessage = 8;
// What the walk may compute, and how long it may take where it does not get to compute.
constexpr std::uint64_t kProcessorSeconds = 10;
constexpr std::uint64_t kWallMs = 900'000;
// What a child answers, beside a line for each kind of objects.
constexpr const char* kEnd = "end\n";
constexpr const char* kIsHeld = "held ";

std::string describe_type(std::uint64_t type) {
  if (type == kUserRootObjectType) return fmt::format("{}, the typed root", type);
  if (type == kSegmentObjectType) return fmt::format("{}, segments that have no entry", type);
  return std::to_string(type);
}

std::string walk(Os& os, const std::string& path, const std::set<std::uint64_t>& named) {
  use_copy_on_write();
  const auto pool = ObjectPool::open(os, path, kPoolLayoutName, Deadline::after_ms(0));
  if (!pool) {
    return (pool.error().code() == Code::timed_out ? kIsHeld : "") + pool.error().message();
  }
  std::string lines;
  for (const OtherObjects::Kind& each : other_objects(pool->objects(), named).kinds)
    lines += fmt::format("{} {} {}\n", each.type, each.count, each.bytes);
  return lines + kEnd;
}

OtherObjects parse(const std::string& lines) {
  OtherObjects found;
  for (std::size_t at = 0; at < lines.size(); at = lines.find('\n', at) + 1) {
    OtherObjects::Kind kind;
    if (std::sscanf(lines.c_str() + at, "%" SCNu64 " %" SCNu64 " %" SCNu64, &kind.type, &kind.count,
                    &kind.bytes) != 3) {
      break;
    }
    found.kinds.push_back(kind);
  }
  return found;
}

}  // namespace

std::uint64_t OtherObjects::count() const {
  std::uint64_t sum = 0;
  for (const Kind& each : kinds)
    sum += each.count;
  return sum;
}

std::uint64_t OtherObjects::bytes() const {
  std::uint64_t sum = 0;
  for (const Kind& each : kinds)
    sum += each.bytes;
  return sum;
}

std::string OtherObjects::describe() const {
  std::string types;
  for (std::size_t i = 0; i < kinds.size() && i < kKindsInMessage; ++i) {
    types += fmt::format("{}{} of type {}", i == 0 ? "" : "; ", kinds[i].count,
                         describe_type(kinds[i].type));
  }
  if (kinds.size() > kKindsInMessage) {
    types += fmt::format("; {} more types", kinds.size() - kKindsInMessage);
  }
  return fmt::format("{} that {} ({}), {}", count_of(count(), "object"),
                     count() == 1 ? "is no segment" : "are no segments", types,
                     format_bytes(bytes()));
}

OtherObjects other_objects(const std::vector<ObjectPool::Object>& objects,
                           const std::set<std::uint64_t>& named) {
  std::map<std::uint64_t, OtherObjects::Kind> kinds;
  for (const ObjectPool::Object& object : objects) {
    if (named.contains(object.offset_bytes)) continue;
    OtherObjects::Kind& kind = kinds[object.type];
    kind.type = object.type;
    kind.count += 1;
    kind.bytes += object.bytes;
  }
  OtherObjects found;
  for (const auto& [type, kind] : kinds)
    found.kinds.push_back(kind);
  return found;
}

OtherObjects other_objects(const DirectoryChange& held) {
  std::set<std::uint64_t> named;
  for (std::uint32_t slot = 0; slot < held.slot_count(); ++slot) {
    const DirectoryEntry& entry = held.entry(slot);
    if (!has_state(entry, EntryState::free)) named.insert(entry.object_offset_bytes);
  }
  return other_objects(held.objects().objects(), named);
}

Result<OtherObjects> look_for_other_objects(Os& os, const std::string& path,
                                            const std::set<std::uint64_t>& named) {
  const auto answer = run_apart([&] { return walk(os, path, named); }, Deadline::after_ms(kWallMs),
                                kProcessorSeconds);
  const std::string context = path + ": its heap cannot be walked";
  if (!answer) {
    const Status& why = answer.error();
    // It is not held, which is what timed_out says.
    if (why.code() == Code::timed_out)
      return fail(Code::failed_precondition, context + ": " + why.message());
    return unexpected(why.in(context));
  }
  if (answer->ends_with(kEnd)) return parse(*answer);
  if (answer->starts_with(kIsHeld)) {
    return fail(Code::timed_out, answer->substr(std::string(kIsHeld).size()));
  }
  return fail(Code::corrupt, context + ": " + *answer);
}

Result<void> require_none(const OtherObjects& others, const std::string& what) {
  if (others.empty()) return {};
  return fail(Code::failed_precondition,
              fmt::format("the pool holds {}, which {} would not have. Nothing was changed; "
                          "`strata pool snapshot` copies them too",
                          others.describe(), what));
}

}  // namespace strata::inline v0_1
