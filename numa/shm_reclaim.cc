// Listing, removal and reclaim of "shm:" segments: all that works on names.

#include <fcntl.h>
#include <fmt/format.h>

#include <cstring>

#include "numa/shm_backend.h"
#include "numa/shm_files.h"
#include "segment/segment_file.h"

namespace strata {
namespace {

constexpr int kLookFlags = O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY;

// Whether `path` still names the open file: it may have been removed and made anew.
Result<bool> is_same_file(Os& os, int fd, const std::string& path) {
  STRATA_ASSIGN(const struct stat open_file, os.fstat(fd));
  const auto named = os.stat(path);
  if (!named) {
    if (named.error().code() == Code::not_found) return false;
    return unexpected(named.error());
  }
  return open_file.st_ino == named->st_ino && open_file.st_dev == named->st_dev;
}

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
  if (!facts->problem && facts->identity.payload_is_apart) {
    // The header's own page is not what the segment takes.
    if (const auto huge_path = huge_path_of(facts->identity)) {
      if (const auto payload = os_.stat(*huge_path)) {
        facts->committed_bytes += static_cast<std::uint64_t>(payload->st_blocks) * 512;
      }
    }
  }
  return facts;
}

Result<std::vector<SegmentStat>> ShmBackend::list(std::string_view) {
  STRATA_ASSIGN(const auto files, os_.list_directory(options_.directory));
  std::vector<SegmentStat> stats;
  stats.reserve(files.size());
  for (const std::string& file : files) {
    if (!file.starts_with(kShmFilePrefix)) continue;
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

Result<void> ShmBackend::remove(const SegmentUri& uri, const RemoveOptions& options) {
  const auto context = [&](const Status& status) {
    return unexpected(status.in("remove " + uri.to_string()));
  };
  STRATA_TRY(check_name(uri.name));
  const std::string path = path_of(uri.name);
  const auto file = open_to_change(os_, path);
  if (!file) {
    return context(file.error().code() == Code::not_found
                       ? Status(Code::not_found, "no such segment")
                       : file.error());
  }
  if (!looks_like_ours(os_, file->get())) {
    return context(Status(Code::failed_precondition,
                          fmt::format("{} is not a Strata segment; remove the file by hand if it "
                                      "is not needed",
                                      path)));
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
    STRATA_ASSIGN(const bool is_current, is_same_file(os_, file->get(), path));
    if (!is_current) return fail(Code::not_found, "removed by another process");
    STRATA_ASSIGN(const SegmentStat facts, stat_segment_file(os_, file->get(), uri));
    // First the state: a removal that is killed from here on is finished by the next gc.
    if (!facts.problem) mark_retired(os_, file->get());
    if (!facts.problem && facts.identity.payload_is_apart) {
      STRATA_ASSIGN(const std::string huge_path, huge_path_of(facts.identity));
      auto unlinked = os_.unlink(huge_path);
      if (!unlinked && unlinked.error().code() != Code::not_found) return unlinked;
    }
    return os_.unlink(path);
  }();
  if (!removed) return context(removed.error());
  return {};
}

Result<ReclaimDecision> ShmBackend::reclaim_one(const SegmentUri& uri,
                                                const ReclaimOptions& options) {
  STRATA_ASSIGN(const SegmentStat before, stat(uri));
  ReclaimDecision decision = judge(before, options);
  if (decision.is_orphan && before.owner_uid != os_.identity().uid && os_.identity().uid != 0) {
    decision.is_orphan = false;
    decision.evidence = fmt::format("kept: belongs to uid {}", before.owner_uid);
  }
  if (!decision.is_orphan || options.dry_run) return decision;
  const std::string path = path_of(uri.name);
  STRATA_ASSIGN(const Fd file, open_to_change(os_, path));
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
  STRATA_ASSIGN(const bool is_current, is_same_file(os_, file.get(), path));
  STRATA_ASSIGN(const SegmentStat now, stat_segment_file(os_, file.get(), uri));
  if (!is_current || !judge(now, options).is_orphan) {
    decision.is_orphan = false;
    decision.evidence = "kept: it changed meanwhile";
    return decision;
  }
  mark_retired(os_, file.get());
  if (now.identity.payload_is_apart) {
    STRATA_ASSIGN(const std::string huge_path, huge_path_of(now.identity));
    auto unlinked = os_.unlink(huge_path);
    if (!unlinked && unlinked.error().code() != Code::not_found) {
      return unexpected(unlinked.error());
    }
  }
  STRATA_TRY(os_.unlink(path));
  decision.was_reclaimed = true;
  return decision;
}

Result<std::vector<ReclaimDecision>> ShmBackend::reclaim(const ReclaimOptions& options) {
  STRATA_ASSIGN(const auto files, os_.list_directory(options_.directory));
  std::vector<ReclaimDecision> decisions;
  for (const std::string& file : files) {
    if (!file.starts_with(kShmFilePrefix)) continue;
    SegmentUri uri{"shm", {}, file.substr(kShmFilePrefix.size())};
    auto decision = reclaim_one(uri, options);
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
