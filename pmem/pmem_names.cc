// Listing, removal and reclaim of "pmem:" segments: all that works on names, and on which pools
// there are.
#include <fmt/format.h>

#include <algorithm>

#include "pmem/pmem_backend.h"
#include "pmem/pool_access.h"
#include "pmem/pool_internal.h"
#include "strata/pmem/pool.h"
#include "strata/segment/reclaim.h"

namespace strata::inline v0_1 {

Result<void> check_match(const IdentityBlock& identity, const DirectoryEntry& entry) {
  if (identity.kind != static_cast<std::uint32_t>(SegmentKind::pmem) ||
      identity.uuid != entry.uuid || identity.payload_offset_bytes != entry.payload_offset_bytes ||
      identity.max_bytes != entry.max_bytes ||
      padded_text(identity.name) != padded_text(entry.name)) {
    return fail(Code::corrupt,
                fmt::format("header is of segment {} ({}), the directory means {} ({})",
                            padded_text(identity.name), uuid_text(identity.uuid),
                            padded_text(entry.name), uuid_text(entry.uuid)));
  }
  return {};
}

void PmemBackend::remember(const std::string& pool_path) {
  {
    const std::lock_guard lock(mutex_);
    if (!used_pools_.insert(pool_path).second) return;
  }
  registry_.record(pool_path);
}

Result<SegmentStat> PmemBackend::stat_entry(SegmentUri uri, const PoolFile& file,
                                            std::uint32_t slot, const DirectoryEntry& entry) {
  STRATA_ASSIGN(SegmentStat result,
                stat_header(os_, file.fd.get(), std::move(uri),
                            {entry.header_offset_bytes, file.lock_range(slot).base_bytes}));
  result.committed_bytes = entry.object_bytes;
  if (result.problem) return result;
  if (auto match = check_match(result.identity, entry); !match) {
    result.problem = match.error();
    result.identity = {};
  }
  return result;
}

Result<SegmentStat> PmemBackend::stat(const SegmentUri& uri) {
  auto located = Pool::at(os_, uri.container).look_up(uri.name, Deadline::after_ms(1000));
  if (!located) return unexpected(located.error().in("stat " + uri.to_string()));
  return stat_entry(uri, located->file, located->found.slot, located->found.entry);
}

Result<void> PmemBackend::remove(const SegmentUri& uri, const RemoveOptions& options) {
  return Pool::at(os_, uri.container)
      .remove({.name = uri.name,
               .even_if_attached = options.even_if_attached,
               .uuid = options.uuid,
               .deadline = Deadline::after_ms(options_.change_timeout_ms)});
}

// One pool can have several names, relative ones among them: the first counts.
std::vector<std::string> PmemBackend::containers(const std::vector<std::string>& named,
                                                 GoneRecords gone) {
  std::vector<std::string> paths = named;
  paths.insert(paths.end(), options_.pools.begin(), options_.pools.end());
  {
    const std::lock_guard lock(mutex_);
    // What was used and has been deleted since is nobody's loss.
    std::copy_if(used_pools_.begin(), used_pools_.end(), std::back_inserter(paths),
                 [&](const std::string& path) { return os_.stat(path).has_value(); });
  }
  for (const RegisteredPool& pool : registry_.pools()) {
    if (!registry_.is_gone(pool)) {
      paths.push_back(pool.path);
    } else if (gone == GoneRecords::drop) {
      registry_.drop(pool);
    }
  }
  if (gone == GoneRecords::drop) registry_.drop_unfinished();
  std::set<FileIdentity> seen;
  std::vector<std::string> places;
  for (const std::string& path : paths) {
    const auto identity = os_.file_identity(path);
    const bool is_new = identity ? seen.insert(*identity).second
                                 : std::find(places.begin(), places.end(), path) == places.end();
    if (is_new) places.push_back(path);
  }
  return places;
}

Result<std::vector<SegmentStat>> PmemBackend::list(std::string_view container) {
  return list_pool(std::string(container), Interrupted::finish);
}

Result<std::vector<SegmentStat>> PmemBackend::list_pool(const std::string& path,
                                                        Interrupted change) {
  const auto context = [&](const Status& status) {
    const std::string known =
        status.code() == Code::not_found ? registry_.explain_absence(path) : std::string();
    const std::string why = status.message() + (known.empty() ? "" : "; " + known);
    return unexpected(Status(status.code(), why, status.sys_errno()).in("look into " + path));
  };
  const Pool pool = Pool::at(os_, path);
  const Deadline deadline = Deadline::after_ms(options_.change_timeout_ms);
  const auto directory =
      change == Interrupted::finish ? pool.directory(deadline) : pool.directory_as_it_is(deadline);
  if (!directory) return context(directory.error());
  const auto file = PoolFile::open(os_, path, Access::read_only);
  if (!file) return context(file.error());
  std::vector<SegmentStat> found;
  for (const PoolEntry& each : entries_of(*directory)) {
    if (each.problem.empty() && !has_state(each.entry, EntryState::current)) continue;
    SegmentUri uri{"pmem", path, std::string(padded_text(each.entry.name))};
    auto stat = each.problem.empty() ? stat_entry(uri, *file, each.slot, each.entry)
                                     : fail(Code::corrupt, each.problem);
    if (!stat) {
      SegmentStat broken;
      broken.uri = std::move(uri);
      broken.problem = stat.error();
      stat = std::move(broken);
    }
    found.push_back(std::move(*stat));
  }
  return found;
}

Result<std::vector<ReclaimDecision>> PmemBackend::reclaim(std::string_view container,
                                                          const ReclaimOptions& options) {
  STRATA_ASSIGN(const auto stats,
                list_pool(std::string(container),
                          options.dry_run ? Interrupted::leave : Interrupted::finish));
  std::vector<ReclaimDecision> decisions;
  for (const SegmentStat& stat : stats) {
    ReclaimDecision decision = judge(stat, options);
    if (decision.is_orphan && !options.dry_run) {
      // Judged again under the pool's lock: by then somebody may have attached. Users of a segment
      // whose creator was to outlive it keep their memory.
      const bool may_be_attached =
          stat.identity.lifetime == static_cast<std::uint32_t>(Lifetime::process);
      const auto removed =
          remove(stat.uri, {.even_if_attached = may_be_attached, .uuid = stat.identity.uuid});
      decision.was_reclaimed = removed.has_value() || removed.error().code() == Code::not_found;
      if (!removed) decision.evidence += "; " + removed.error().message();
    }
    decisions.push_back(std::move(decision));
  }
  return decisions;
}

}  // namespace strata::inline v0_1
