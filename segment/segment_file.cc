#include "segment/segment_file.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <functional>

namespace strata {
namespace {

static_assert(kWriterByte == kReaderByte + 1 && kCreatorByte == kReaderByte + 2);
constexpr std::uint64_t kStatBlockBytes = 512;  // unit of st_blocks, whatever the file system

Result<bool> is_held(Os& os, int fd, std::uint64_t byte, std::uint64_t count = 1) {
  return os.is_range_locked(fd, kLockBaseBytes + byte, count, LockKind::exclusive);
}

std::string creator_of(const SegmentStat& stat) {
  return fmt::format("creator pid {} is {}", stat.identity.creator_pid,
                     stat.is_creator_alive ? "alive" : "gone (its lock is free)");
}

std::string attached_text(const SegmentStat& stat) {
  return stat.is_attached ? "somebody is attached" : "nobody is attached";
}

struct JobVerdict {
  JobState::Kind kind;
  std::string text;
};

JobVerdict ask_of_job(const SegmentStat& stat, const ReclaimOptions& options) {
  const std::string_view id = padded_text(stat.identity.job_id);
  const JobState state = options.job_oracle ? options.job_oracle(id) : JobState{};
  const auto text = [&](std::string_view what) {
    return fmt::format("lifetime job, job {} {}{}{}", id, what, state.evidence.empty() ? "" : ": ",
                       state.evidence);
  };
  switch (state.kind) {
    case JobState::Kind::alive: return {state.kind, text("is alive")};
    case JobState::Kind::ended: return {state.kind, text("has ended")};
    case JobState::Kind::unknown: break;
  }
  return {JobState::Kind::unknown, text("is not known to have ended")};
}

}  // namespace

Result<void> check_belongs(const IdentityBlock& identity, const SegmentUri& uri) {
  const std::string_view name = padded_text(identity.name);
  const std::string_view kind = kind_name(static_cast<SegmentKind>(identity.kind));
  if (name == uri.name && kind == uri.scheme) return {};
  // What is no name may hold anything, and is not repeated.
  if (!name.empty() && !check_name(name)) return fail(Code::corrupt, "header: has no valid name");
  return fail(Code::corrupt, fmt::format("header: belongs to {}",
                                         name.empty() ? "an anonymous segment"
                                                      : fmt::format("{}:{}", kind, name)));
}

Result<SegmentStat> stat_segment_file(Os& os, int fd, SegmentUri uri) {
  SegmentStat result;
  result.uri = std::move(uri);
  STRATA_ASSIGN(const struct stat facts, os.fstat(fd));
  result.committed_bytes = static_cast<std::uint64_t>(facts.st_blocks) * kStatBlockBytes;
  result.owner_uid = facts.st_uid;
  result.mode = facts.st_mode & 0777;
  if (!S_ISREG(facts.st_mode)) {
    result.problem = Status(Code::corrupt, "not a regular file");
    return result;
  }
  alignas(HeaderPage) std::array<std::byte, kHeaderBytes> bytes{};
  STRATA_ASSIGN(const std::size_t read, os.pread(fd, bytes, 0));
  auto identity = read_identity_block(std::span(bytes).first(read));
  if (!identity) {
    result.problem = identity.error();
    return result;
  }
  if (auto belongs = check_belongs(*identity, result.uri); !belongs) {
    result.problem = belongs.error();
    result.is_of_another = true;
    return result;
  }
  result.identity = *identity;
  const auto* page = reinterpret_cast<const HeaderPage*>(bytes.data());
  const std::uint32_t state = page->live.state.value.load(std::memory_order_relaxed);
  if (state > static_cast<std::uint32_t>(SegmentState::retired)) {
    result.problem = Status(Code::corrupt, fmt::format("header: impossible state {}", state));
  } else {
    result.state = static_cast<SegmentState>(state);
  }
  result.payload_bytes = page->live.payload_bytes.value.load(std::memory_order_relaxed);
  if (result.payload_bytes < identity->created_payload_bytes ||
      result.payload_bytes > identity->max_bytes) {
    result.problem =
        Status(Code::corrupt, fmt::format("header: impossible size {}", result.payload_bytes));
  }
  // Mostly nobody is there, which one question tells.
  STRATA_ASSIGN(const bool is_anybody_there, is_held(os, fd, kReaderByte, 3));
  if (!is_anybody_there) return result;
  STRATA_ASSIGN(result.is_attached, is_held(os, fd, kReaderByte, 2));
  STRATA_ASSIGN(result.is_attached_for_writing, is_held(os, fd, kWriterByte));
  STRATA_ASSIGN(result.is_creator_alive, is_held(os, fd, kCreatorByte));
  return result;
}

ReclaimDecision judge(const SegmentStat& stat, const ReclaimOptions& options) {
  ReclaimDecision decision;
  decision.uri = stat.uri;
  decision.bytes = stat.committed_bytes;
  if (stat.problem) {
    decision.evidence = "kept: " + stat.problem->message();
    return decision;
  }
  const auto orphan = [&](std::string evidence) {
    decision.is_orphan = true;
    decision.evidence = std::move(evidence);
    return decision;
  };
  const auto keep = [&](std::string evidence) {
    decision.evidence = "kept: " + std::move(evidence);
    return decision;
  };
  if (stat.state == SegmentState::retired) return orphan("its removal was not finished");
  if (stat.state == SegmentState::initialising || stat.state == SegmentState::blank) {
    return stat.is_creator_alive ? keep("being filled, " + creator_of(stat))
                                 : orphan("never published, " + creator_of(stat));
  }
  switch (static_cast<Lifetime>(stat.identity.lifetime)) {
    case Lifetime::process:
      return stat.is_creator_alive ? keep("lifetime process, " + creator_of(stat))
                                   : orphan("lifetime process, " + creator_of(stat));
    case Lifetime::last_detach:
      return stat.is_attached ? keep("lifetime last_detach, " + attached_text(stat))
                              : orphan("lifetime last_detach, " + attached_text(stat));
    case Lifetime::job: {
      const JobVerdict job = ask_of_job(stat, options);
      if (job.kind != JobState::Kind::ended) return keep(job.text);
      return stat.is_attached ? keep(fmt::format("{}, but {}", job.text, attached_text(stat)))
                              : orphan(fmt::format("{}, {}", job.text, attached_text(stat)));
    }
    case Lifetime::until_removed: break;
  }
  return keep("lifetime until_removed");
}

Result<ExclusiveLease> ExclusiveLease::take(Os& os, int fd) {
  ExclusiveLease lease(os, fd);
  for (const std::uint64_t byte : {kWriterByte, kReaderByte}) {
    STRATA_ASSIGN(const bool locked,
                  os.try_lock_byte(fd, kLockBaseBytes + byte, LockKind::exclusive));
    if (!locked) {
      std::vector<Holder> holders = find_holders(os, {fd, kLockBaseBytes});
      // This process holds the lock on changes: it is named only where nobody else is found.
      const auto is_other = [&](const Holder& h) { return h.pid != os.identity().pid; };
      if (std::any_of(holders.begin(), holders.end(), is_other))
        std::erase_if(holders, std::not_fn(is_other));
      return fail(Code::failed_precondition, "in use by " + describe(holders));
    }
  }
  return lease;
}

ExclusiveLease::~ExclusiveLease() {
  if (fd_ < 0) return;
  (void)os_.unlock_byte(fd_, kLockBaseBytes + kReaderByte);
  (void)os_.unlock_byte(fd_, kLockBaseBytes + kWriterByte);
}

void mark_retired(Os& os, int fd) {
  const auto retired = static_cast<std::uint32_t>(SegmentState::retired);
  // Best effort: a sealed memfd refuses, and the missing name says the same.
  (void)os.pwrite(fd, std::as_bytes(std::span(&retired, 1)),
                  offsetof(HeaderPage, live) + offsetof(LiveBlock, state));
}

}  // namespace strata
