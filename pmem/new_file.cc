#include "pmem/new_file.h"

#include <fcntl.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <utility>

namespace strata::inline v0_1 {
namespace {

constexpr mode_t kModeBits = 07777;
constexpr const char* kAccessList = "system.posix_acl_access";
// Made by the kernel from a file's own content.
constexpr std::array kNotOfTheName = {"security.ima", "security.evm"};

std::string folder_of(const std::string& path) {
  const std::string folder = std::filesystem::path(path).parent_path().string();
  return folder.empty() ? "." : folder;
}

Result<void> sync_folder_of(Os& os, const std::string& path) {
  STRATA_ASSIGN(const Fd folder, os.open(folder_of(path), O_RDONLY | O_DIRECTORY));
  return os.fsync(folder.get());
}

bool are_same(const struct stat& a, const struct stat& b) {
  return a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

Result<std::string> unfinished_name(Os& os, const std::string& path) {
  std::uint64_t nonce = 0;
  STRATA_TRY(os.get_random(std::as_writable_bytes(std::span(&nonce, 1))));
  return fmt::format("{}.{:016x}.new", path, nonce);
}

Unexpected cannot_keep(const OldFile& old, const std::string& what, const Status& why) {
  return fail(Code::permission_denied,
              fmt::format("{}: the file in its place could not keep {}: {}. Nothing was changed; "
                          "its owner or root can do it",
                          old.path, what, why.message()));
}

// Owner first: giving a file away drops some attributes. Mode last: it limits an access list.
Result<void> keep_owner(const OldFile& old, int fd) {
  STRATA_ASSIGN(const auto now, old.os->fstat(fd));
  if (now.st_uid == old.facts.st_uid && now.st_gid == old.facts.st_gid) return {};
  if (auto done = old.os->fchown(fd, old.facts.st_uid, old.facts.st_gid); !done) {
    return cannot_keep(
        old, fmt::format("its owner (uid {}, gid {})", old.facts.st_uid, old.facts.st_gid),
        done.error());
  }
  return {};
}

Result<void> keep_attributes(const OldFile& old, int fd) {
  Os& os = *old.os;
  STRATA_ASSIGN(const auto names, os.list_attributes(old.fd.get()));
  for (const std::string& name : names) {
    if (std::find(kNotOfTheName.begin(), kNotOfTheName.end(), name) != kNotOfTheName.end()) {
      continue;
    }
    const auto value = os.get_attribute(old.fd.get(), name);
    if (!value) return cannot_keep(old, "attribute " + name, value.error());
    if (const auto has = os.get_attribute(fd, name); has && *has == *value) continue;
    if (auto done = os.set_attribute(fd, name, *value); !done) {
      return cannot_keep(old, "attribute " + name, done.error());
    }
  }
  // The folder's default list would let in whom the old file did not.
  STRATA_ASSIGN(const auto made, os.list_attributes(fd));
  const auto has = [](const std::vector<std::string>& all) {
    return std::find(all.begin(), all.end(), kAccessList) != all.end();
  };
  if (!has(made) || has(names)) return {};
  return os.remove_attribute(fd, kAccessList);
}

Result<void> keep_facts(const OldFile& old, int fd) {
  STRATA_TRY(keep_owner(old, fd));
  STRATA_TRY(keep_attributes(old, fd));
  const mode_t mode = old.facts.st_mode & kModeBits;
  if (auto done = old.os->fchmod(fd, mode); !done) {
    return cannot_keep(old, fmt::format("its mode {:04o}", mode), done.error());
  }
  return {};
}

}  // namespace

Result<OldFile> OldFile::find(Os& os, const std::string& path) {
  OldFile old;
  old.os = &os;
  STRATA_ASSIGN(old.path, os.real_path(path));
  // A pipe must not be waited for.
  STRATA_ASSIGN(old.fd, os.open(old.path, O_RDONLY | O_NONBLOCK));
  STRATA_ASSIGN(old.facts, os.fstat(old.fd.get()));
  if (!S_ISREG(old.facts.st_mode)) return fail(Code::invalid_argument, path + ": is not a file");
  return old;
}

Result<void> OldFile::require_no_other_names(std::uint64_t known) const {
  if (facts.st_nlink <= known) return {};
  return fail(Code::failed_precondition,
              fmt::format("{}: the file has {} names (hard links), and only this one would get the "
                          "new content, the others keep the old. Remove the others, or make this "
                          "one a copy of its own (cp {} NEW, then mv NEW {})",
                          path, facts.st_nlink, path, path));
}

Result<bool> OldFile::is_behind(int other_fd) const {
  STRATA_ASSIGN(const auto other, os->fstat(other_fd));
  return are_same(other, facts);
}

namespace {

std::string numbered(const std::string& path, const std::string& suffix, unsigned number) {
  return number == 1 ? path + suffix : fmt::format("{}{}.{}", path, suffix, number);
}

}  // namespace

std::string OldFile::kept_as(const std::string& suffix) const {
  for (unsigned number = 1;; ++number) {
    const std::string name = numbered(path, suffix, number);
    const auto taken = os->stat(name);
    if (!taken) return {};
    if (are_same(*taken, facts)) return name;
  }
}

Result<std::string> OldFile::keep_as(const std::string& suffix) const {
  if (const std::string name = kept_as(suffix); !name.empty()) return name;
  for (unsigned number = 1;; ++number) {
    const std::string name = numbered(path, suffix, number);
    const auto linked = os->link(path, name);
    if (!linked && linked.error().code() == Code::already_exists) continue;
    if (!linked) return unexpected(linked.error());
    STRATA_TRY(sync_folder_of(*os, path));
    return name;
  }
}

Result<NewFile> NewFile::make(Os& os, const std::string& path) {
  auto nameless = os.open(folder_of(path), O_RDWR | O_TMPFILE, 0600);
  if (nameless) {
    NewFile made(os, std::move(*nameless));
    made.working_path_ = fmt::format("/proc/self/fd/{}", made.fd());
    return made;
  }
  const bool is_known =
      nameless.error().code() != Code::unsupported && nameless.error().sys_errno() != EISDIR;
  if (is_known) return unexpected(nameless.error());
  STRATA_ASSIGN(const std::string unfinished, unfinished_name(os, path));
  STRATA_ASSIGN(Fd fd, os.open(unfinished, O_RDWR | O_CREAT | O_EXCL, 0600));
  NewFile made(os, std::move(fd));
  made.working_path_ = made.unfinished_ = unfinished;
  return made;
}

NewFile::NewFile(NewFile&& other) noexcept
    : os_(other.os_),
      fd_(std::move(other.fd_)),
      working_path_(std::move(other.working_path_)),
      unfinished_(std::exchange(other.unfinished_, {})) {}

NewFile::~NewFile() {
  if (!unfinished_.empty()) (void)os_->unlink(unfinished_);
}

Result<void> NewFile::give_name(const std::string& path) {
  STRATA_TRY(os_->fsync(fd()));
  STRATA_TRY(os_->link_fd(fd(), path));
  return sync_folder_of(*os_, path);
}

Result<void> NewFile::replace(const OldFile& old) {
  STRATA_TRY(keep_facts(old, fd()));
  STRATA_TRY(os_->fsync(fd()));
  if (unfinished_.empty()) {
    STRATA_ASSIGN(const std::string name, unfinished_name(*os_, old.path));
    STRATA_TRY(os_->link_fd(fd(), name));
    unfinished_ = name;
  }
  STRATA_ASSIGN(const auto now, os_->stat(old.path));
  if (!are_same(now, old.facts)) {
    return fail(Code::failed_precondition, old.path + ": another file has got its name meanwhile");
  }
  STRATA_TRY(os_->rename(unfinished_, old.path));
  unfinished_.clear();
  return sync_folder_of(*os_, old.path);
}

Result<void> write_new_file(Os& os, const WriteRequest& request,
                            const std::function<Result<void>(int fd)>& write) {
  const bool is_there = os.stat(request.path).has_value();
  if (is_there && !request.replace) {
    return fail(Code::already_exists, request.path + ": it exists");
  }
  if (!is_there) {
    STRATA_ASSIGN(NewFile made, NewFile::make(os, request.path));
    STRATA_TRY(write(made.fd()));
    return made.give_name(request.path);
  }
  STRATA_ASSIGN(const OldFile old, OldFile::find(os, request.path));
  STRATA_TRY(old.require_no_other_names());
  if (request.source_fd >= 0) {
    STRATA_ASSIGN(const bool is_source, old.is_behind(request.source_fd));
    if (is_source) {
      return fail(Code::invalid_argument, request.path + ": is the very file that is being read");
    }
  }
  STRATA_ASSIGN(NewFile made, NewFile::make(os, old.path));
  STRATA_TRY(write(made.fd()));
  return made.replace(old);
}

}  // namespace strata::inline v0_1
