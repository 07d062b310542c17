// Listing, removal and reclaim of "shm:" segments: all that works on names.

#include <fcntl.h>
#include <fmt/format.h>

#include <cstring>

#include "segment/segment_file.h"
#include "shm/huge_payload.h"
#include "shm/shm_backend.h"
#include "shm/shm_files.h"
#include "shm/shm_removal.h"

namespace strata {
namespace {

constexpr int kLookFlags = O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY;

// Begins with our magic, whatever else is wrong with it.
bool looks_like_ours(Os& os, int fd) {
  std::array<char, kHeaderMagic.size()> magic{};
  const auto read = os.pread(fd, std::as_writable_bytes(std::span(magic)), 0);
  return read && *read == magic.size() && magic == kHeaderMagic;
}

}  // namespace

Result<SegmentStat> ShmBackend::stat(const SegmentUri& uri) {
  const auto context = [&](const Status& status) {
    return unexpected(status.in("stat " + uri.to_string()));
  };
  STRATA_TRY(check_name(uri.name));
  const std::string path = path_of(uri.name);
  const auto file = os_.open(path, kLookFlags);
  if (!file) {
    if (file.error().code() == Code::not_found) {
      return context(Status(Code::not_found, "no such segment"));
    }
    return context(explain_open_failure(os_, path, Access::read_only, file.error()));
  }
  auto facts = stat_segment_file(os_, file->get(), uri);
  if (!facts) return context(facts.error());
  if (facts->identity.payload_is_apart) {
    // The header's own page is not what the segment takes.
    if (const auto payload = huge_payload(uri, facts->identity)) {
      if (const auto found = payload->stat(facts->owner_uid)) {
        facts->committed_bytes += static_cast<std::uint64_t>(found->st_blocks) * 512;
      }
    }
  }
  return facts;
}

Result<std::vector<SegmentStat>> ShmBackend::list(std::string_view container) {
  if (!container.empty()) return std::vector<SegmentStat>();  // there are none in containers
  STRATA_ASSIGN(const auto files, os_.list_directory(options_.directory));
  std::vector<SegmentStat> stats;
  stats.reserve(files.size());
  for (const std::string& file : files) {
    if (!file.starts_with(kShmFilePrefix) || is_aside(file)) continue;
    SegmentUri uri{"shm", {}, file.substr(kShmFilePrefix.size())};
    auto one = stat(uri);
    if (!one) {
      if (one.error().code() == Code::not_found) continue;  // removed meanwhile
      SegmentStat unreadable;
      if (const auto facts = os_.stat(path_of(uri.name))) {
        unreadable.owner_uid = facts->st_uid;
        unreadable.mode = facts->st_mode & 0777;
      }
      unreadable.uri = std::move(uri);
      unreadable.problem = one.error();
      one = std::move(unreadable);
    }
    stats.push_back(std::move(*one));
  }
  return stats;
}

Result<void> ShmBackend::take_name_away(const ShmDirectory& directory, const SegmentStat& facts,
                                        int fd) {
  if (!facts.identity.payload_is_apart) return remove_name(os_, directory, facts, fd, nullptr);
  STRATA_ASSIGN(const HugePayload payload, huge_payload(facts.uri, facts.identity));
  return remove_name(os_, directory, facts, fd, &payload);
}

Result<void> ShmBackend::remove(const SegmentUri& uri, const RemoveOptions& options) {
  const auto context = [&](const Status& status) {
    return unexpected(status.in("remove " + uri.to_string()));
  };
  STRATA_TRY(check_name(uri.name));
  const std::string file_name = shm_file_name(uri.name);
  const auto directory = ShmDirectory::open(os_, options_.directory);
  if (!directory) return context(directory.error());
  const auto file = directory->open_to_change(file_name);
  if (!file) {
    return context(file.error().code() == Code::not_found
                       ? Status(Code::not_found, "no such segment")
                       : file.error());
  }
  if (!looks_like_ours(os_, file->get())) {
    return context(Status(Code::failed_precondition,
                          fmt::format("{} is not a Strata segment; remove the file by hand if it "
                                      "is not needed",
                                      path_of(uri.name))));
  }
  const auto removed = [&]() -> Result<void> {
    // No two processes take a name away: one could remove the next segment of that name.
    STRATA_ASSIGN(const ChangeLock lock,
                  ChangeLock::take(os_, {file->get(), kLockBaseBytes}, Deadline::after_ms(1000)));
    std::optional<ExclusiveLease> lease;
    if (!options.even_if_attached) {
      STRATA_ASSIGN(ExclusiveLease taken, ExclusiveLease::take(os_, file->get()));
      lease.emplace(std::move(taken));
    }
    STRATA_ASSIGN(const bool is_current, directory->is_same_file(file->get(), file_name));
    if (!is_current) return fail(Code::not_found, "removed by another process");
    STRATA_ASSIGN(const SegmentStat facts, stat_segment_file(os_, file->get(), uri));
    if (facts.is_of_another) {
      return fail(Code::failed_precondition,
                  fmt::format("it is another name or a copy ({}); to take away this name alone: "
                              "rm {}",
                              facts.problem->message(), path_of(uri.name)));
    }
    const bool is_any_meant = options.uuid == decltype(options.uuid){};
    if (!is_any_meant && facts.identity.uuid != options.uuid) {
      return fail(Code::not_found, "it is another segment by now");
    }
    return take_name_away(*directory, facts, file->get());
  }();
  if (!removed) return context(removed.error());
  return {};
}

void ShmBackend::abandon(const SegmentUri& uri, const IdentityBlock& identity) {
  (void)remove(uri, {.even_if_attached = true, .uuid = identity.uuid});
}

bool ShmBackend::may_reclaim(const SegmentStat& facts, ReclaimDecision& decision) {
  const uid_t self = os_.identity().uid;
  if (facts.owner_uid == self || self == 0) return true;
  decision.is_orphan = false;
  decision.evidence = fmt::format("kept: belongs to uid {}", facts.owner_uid);
  return false;
}

Result<ReclaimDecision> ShmBackend::reclaim_one(const SegmentUri& uri,
                                                const ReclaimOptions& options) {
  STRATA_ASSIGN(const SegmentStat before, stat(uri));
  ReclaimDecision decision = judge(before, options);
  if (!decision.is_orphan || !may_reclaim(before, decision) || options.dry_run) return decision;
  const std::string file_name = shm_file_name(uri.name);
  STRATA_ASSIGN(const ShmDirectory directory, ShmDirectory::open(os_, options_.directory));
  STRATA_ASSIGN(const Fd file, directory.open_to_change(file_name));
  const auto locked = ChangeLock::take(os_, {file.get(), kLockBaseBytes}, Deadline::after_ms(0));
  if (!locked) {
    decision.evidence += "; left to another process that is changing it";
    return decision;
  }
  // Users of a segment whose creator was to outlive it keep their memory; all others must be
  // gone, and stay out until the name is.
  const bool may_be_attached =
      before.state == SegmentState::retired ||
      before.identity.lifetime == static_cast<std::uint32_t>(Lifetime::process);
  std::optional<ExclusiveLease> lease;
  if (!may_be_attached) {
    auto taken = ExclusiveLease::take(os_, file.get());
    if (!taken) {
      decision.is_orphan = false;
      decision.evidence = "kept: somebody attached meanwhile";
      return decision;
    }
    lease.emplace(std::move(*taken));
  }
  // Judged again, now that nothing can change.
  STRATA_ASSIGN(const bool is_current, directory.is_same_file(file.get(), file_name));
  STRATA_ASSIGN(const SegmentStat now, stat_segment_file(os_, file.get(), uri));
  if (!is_current || !judge(now, options).is_orphan || !may_reclaim(now, decision)) {
    decision.is_orphan = false;
    decision.evidence = "kept: it changed meanwhile";
    return decision;
  }
  STRATA_TRY(take_name_away(directory, now, file.get()));
  decision.was_reclaimed = true;
  return decision;
}

Result<ReclaimDecision> ShmBackend::reclaim_aside(const std::string& file_name,
                                                  const ReclaimOptions& options) {
  ReclaimDecision decision;
  decision.uri = uri_of_aside(file_name);
  STRATA_ASSIGN(const ShmDirectory directory, ShmDirectory::open(os_, options_.directory));
  const auto facts_of = [&](int fd) { return stat_segment_file(os_, fd, decision.uri); };
  {
    STRATA_ASSIGN(const Fd file, directory.open_to_look(file_name));
    STRATA_ASSIGN(const SegmentStat before, facts_of(file.get()));
    decision.bytes = before.committed_bytes;
    STRATA_TRY(check_aside(os_, file_name, before, file.get()));
    decision.is_orphan = true;
    decision.evidence = "its removal was not finished";
    if (!may_reclaim(before, decision) || options.dry_run) return decision;
  }
  STRATA_ASSIGN(const Fd file, directory.open_to_change(file_name));
  const auto locked = ChangeLock::take(os_, {file.get(), kLockBaseBytes}, Deadline::after_ms(0));
  if (!locked) {
    decision.evidence += "; left to another process that is at it";
    return decision;
  }
  STRATA_ASSIGN(const bool is_current, directory.is_same_file(file.get(), file_name));
  if (!is_current) return fail(Code::not_found, "removed by another process");
  STRATA_ASSIGN(const SegmentStat now, facts_of(file.get()));
  STRATA_ASSIGN(const HugePayload payload, huge_payload(now.uri, now.identity));
  STRATA_TRY(finish_removal(os_, directory, file_name, now, file.get(), payload));
  decision.was_reclaimed = true;
  return decision;
}

Result<std::vector<ReclaimDecision>> ShmBackend::reclaim(std::string_view container,
                                                         const ReclaimOptions& options) {
  if (!container.empty()) return std::vector<ReclaimDecision>();
  STRATA_ASSIGN(const auto files, os_.list_directory(options_.directory));
  std::vector<ReclaimDecision> decisions;
  for (const std::string& file : files) {
    if (!file.starts_with(kShmFilePrefix)) continue;
    SegmentUri uri{"shm", {}, file.substr(kShmFilePrefix.size())};
    auto decision = is_aside(file) ? reclaim_aside(file, options) : reclaim_one(uri, options);
    if (!decision) {
      // One that cannot be judged must not keep the others from being reclaimed.
      if (decision.error().code() == Code::not_found) continue;
      ReclaimDecision unknown;
      unknown.uri = std::move(uri);
      unknown.evidence = "kept: " + decision.error().message();
      decision = std::move(unknown);
    }
    decisions.push_back(std::move(*decision));
  }
  return decisions;
}

}  // namespace strata
