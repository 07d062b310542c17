#include "segment/named_files.h"

#include <fcntl.h>
#include <fmt/format.h>

#include <cstring>

#include "segment/named_removal.h"
#include "strata/segment/reclaim.h"

namespace strata::inline v0_1 {
namespace {

// A FIFO or a device under our name must not make the open itself wait.
constexpr int kSafeFlags = O_NOFOLLOW | O_NONBLOCK | O_NOCTTY;

constexpr std::uint64_t kStatBlockBytes = 512;  // unit of st_blocks, whatever the file system

// Begins with our magic, whatever else is wrong with it.
bool looks_like_ours(Os& os, int fd) {
  std::array<char, kHeaderMagic.size()> magic{};
  const auto read = os.pread(fd, std::as_writable_bytes(std::span(magic)), 0);
  return read && *read == magic.size() && magic == kHeaderMagic;
}

// A failed open with the reason that a person needs: whose segment it is, that it is sealed.
Status explain_open_failure(Os& os, const std::string& path, Access access, const Status& failure) {
  if (failure.code() == Code::not_found) return Status(Code::not_found, "no such segment");
  const auto facts = os.stat(path);
  if (failure.code() != Code::permission_denied || !facts) return failure;
  if (S_ISLNK(facts->st_mode)) return failure;
  const bool is_sealed = access == Access::read_write && (facts->st_mode & 0222) == 0;
  if (is_sealed) {
    return Status(Code::failed_precondition, "it is sealed; attach it read-only",
                  failure.sys_errno());
  }
  return Status(
      Code::permission_denied,
      fmt::format("it belongs to uid {} with mode {:04o}", facts->st_uid, facts->st_mode & 07777),
      failure.sys_errno());
}

}  // namespace

std::string NamedFiles::file_name_of(std::string_view name) const {
  std::string file_name;
  file_name.reserve(options_.prefix.size() + 1 + name.size());
  return file_name.append(options_.prefix).append(".").append(name);
}

std::string NamedFiles::path_of(std::string_view name) const {
  return options_.directory + "/" + file_name_of(name);
}

SegmentUri NamedFiles::uri_of(const std::string& file_name) const {
  const std::string name = file_name.substr(options_.prefix.size() + 1);
  return {options_.scheme, {}, is_aside(name) ? name_of_aside(name) : name};
}

Result<std::vector<std::string>> NamedFiles::list_files() const {
  STRATA_ASSIGN(auto files, os_.list_directory(options_.directory));
  const std::string beginning = file_name_of("");
  std::erase_if(files, [&](const std::string& file) { return !file.starts_with(beginning); });
  return files;
}

bool NamedFiles::is_file_aside(const std::string& file_name) const {
  return is_aside(std::string_view(file_name).substr(options_.prefix.size() + 1));
}

Result<Fd> NamedFiles::create_unnamed(std::uint32_t mode) const {
  STRATA_ASSIGN(Fd file, os_.open(options_.directory, O_TMPFILE | O_RDWR, mode));
  // The umask may have taken bits away that were asked for.
  if (mode & 0077) STRATA_TRY(os_.fchmod(file.get(), mode));
  return file;
}

Result<void> NamedFiles::link(int fd, const SegmentUri& uri) const {
  const std::string path = path_of(uri.name);
  auto linked = os_.link_fd(fd, path);
  if (linked || linked.error().code() != Code::already_exists) return linked;
  // What stands in the way may be the remains of a process that was killed.
  const auto reclaimed = reclaim_one(uri, {});
  if (reclaimed && reclaimed->was_reclaimed) linked = os_.link_fd(fd, path);
  if (!linked && linked.error().code() == Code::already_exists) {
    return fail(Code::already_exists, "the name is taken");
  }
  return linked;
}

Result<Fd> NamedFiles::open(const std::string& name, Access access) const {
  const int flags = access == Access::read_write ? O_RDWR : O_RDONLY;
  const std::string path = path_of(name);
  auto file = os_.open(path, flags | kSafeFlags);
  if (!file) return unexpected(explain_open_failure(os_, path, access, file.error()));
  return file;
}

Result<SegmentStat> NamedFiles::stat(const SegmentUri& uri) const {
  const auto context = [&](const Status& status) {
    return unexpected(status.in("stat " + uri.to_string()));
  };
  STRATA_TRY(check_name(uri.name));
  const auto file = open(uri.name, Access::read_only);
  if (!file) return context(file.error());
  auto facts = stat_header(os_, file->get(), uri);
  if (!facts) return context(facts.error());
  if (facts->identity.payload_is_apart && find_apart_) {
    // The header's own page is not what the segment takes.
    if (const auto payload = find_apart_(uri, facts->identity)) {
      if (const auto found = (*payload)->stat(facts->owner_uid)) {
        facts->committed_bytes += static_cast<std::uint64_t>(found->st_blocks) * kStatBlockBytes;
      }
    }
  }
  return facts;
}

Result<std::vector<SegmentStat>> NamedFiles::list() const {
  STRATA_ASSIGN(const auto files, list_files());
  std::vector<SegmentStat> stats;
  stats.reserve(files.size());
  for (const std::string& file : files) {
    if (is_file_aside(file)) continue;
    SegmentUri uri = uri_of(file);
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

Result<void> NamedFiles::take_name_away(const NamedDirectory& directory, const SegmentStat& facts,
                                        int fd) const {
  const std::string file_name = file_name_of(facts.uri.name);
  if (!facts.identity.payload_is_apart || !find_apart_) {
    return remove_name(os_, directory, file_name, facts, fd, nullptr);
  }
  STRATA_ASSIGN(const auto payload, find_apart_(facts.uri, facts.identity));
  return remove_name(os_, directory, file_name, facts, fd, payload.get());
}

Result<void> NamedFiles::remove(const SegmentUri& uri, const RemoveOptions& options) const {
  const auto context = [&](const Status& status) {
    return unexpected(status.in("remove " + uri.to_string()));
  };
  STRATA_TRY(check_name(uri.name));
  const std::string file_name = file_name_of(uri.name);
  const auto directory = NamedDirectory::open(os_, options_.directory);
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
    STRATA_ASSIGN(const SegmentStat facts, stat_header(os_, file->get(), uri));
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

void NamedFiles::abandon(const SegmentUri& uri, const IdentityBlock& identity) const {
  (void)remove(uri, {.even_if_attached = true, .uuid = identity.uuid});
}

bool NamedFiles::may_reclaim(const SegmentStat& facts, ReclaimDecision& decision) const {
  const uid_t self = os_.identity().uid;
  if (facts.owner_uid == self || self == 0) return true;
  decision.is_orphan = false;
  decision.evidence = fmt::format("kept: belongs to uid {}", facts.owner_uid);
  return false;
}

Result<ReclaimDecision> NamedFiles::reclaim_one(const SegmentUri& uri,
                                                const ReclaimOptions& options) const {
  STRATA_ASSIGN(const SegmentStat before, stat(uri));
  ReclaimDecision decision = judge(before, options);
  if (!decision.is_orphan || !may_reclaim(before, decision) || options.dry_run) return decision;
  const std::string file_name = file_name_of(uri.name);
  STRATA_ASSIGN(const NamedDirectory directory, NamedDirectory::open(os_, options_.directory));
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
  STRATA_ASSIGN(const SegmentStat now, stat_header(os_, file.get(), uri));
  if (!is_current || !judge(now, options).is_orphan || !may_reclaim(now, decision)) {
    decision.is_orphan = false;
    decision.evidence = "kept: it changed meanwhile";
    return decision;
  }
  STRATA_TRY(take_name_away(directory, now, file.get()));
  decision.was_reclaimed = true;
  return decision;
}

Result<ReclaimDecision> NamedFiles::reclaim_aside(const std::string& file_name,
                                                  const ReclaimOptions& options) const {
  ReclaimDecision decision;
  decision.uri = uri_of(file_name);
  const std::string name = file_name.substr(options_.prefix.size() + 1);
  STRATA_ASSIGN(const NamedDirectory directory, NamedDirectory::open(os_, options_.directory));
  const auto facts_of = [&](int fd) { return stat_header(os_, fd, decision.uri); };
  {
    STRATA_ASSIGN(const Fd file, directory.open_to_look(file_name));
    STRATA_ASSIGN(const SegmentStat before, facts_of(file.get()));
    decision.bytes = before.committed_bytes;
    STRATA_TRY(check_aside(os_, name, before, file.get()));
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
  STRATA_TRY(check_aside(os_, name, now, file.get()));
  STRATA_ASSIGN(const auto payload, find_apart_(now.uri, now.identity));
  STRATA_TRY(finish_removal(os_, directory, file_name, now, file.get(), *payload));
  decision.was_reclaimed = true;
  return decision;
}

Result<std::vector<ReclaimDecision>> NamedFiles::reclaim(const ReclaimOptions& options) const {
  STRATA_ASSIGN(const auto files, list_files());
  std::vector<ReclaimDecision> decisions;
  for (const std::string& file : files) {
    SegmentUri uri = uri_of(file);
    const bool is_unfinished = is_file_aside(file) && find_apart_;
    auto decision = is_unfinished ? reclaim_aside(file, options) : reclaim_one(uri, options);
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

}  // namespace strata::inline v0_1
