#include "pmem/pool_registry.h"

#include <fcntl.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <optional>
#include <span>

#include "os/user_state.h"
#include "pmem/directory_change.h"
#include "strata/segment/content_hash.h"

namespace strata::inline v0_1 {
namespace {

constexpr std::size_t kMaxPathBytes = 4095;
constexpr std::size_t kMaxHostBytes = 255;
constexpr std::size_t kMaxRecordBytes = 2 * kMaxPathBytes + kMaxHostBytes + 3;
constexpr std::size_t kRecordNameChars = 32;
// More than this is not looked at: whoever has so many pools names those that are meant.
constexpr std::size_t kMaxRecords = 4096;
// ~/.local/state/strata/pools: no more than this is made below what exists.
constexpr std::size_t kMaxMissingFolders = 4;
constexpr std::string_view kUnfinishedPrefix = ".new-";
// Writing a record takes moments: after so long nobody is at it any more.
constexpr time_t kUnfinishedForSeconds = 3600;

bool is_plain_text(std::string_view text) {
  return std::none_of(text.begin(), text.end(), [](char c) {
    const auto byte = static_cast<unsigned char>(c);
    return byte < 0x20 || byte == 0x7f;
  });
}

bool is_good_path(std::string_view path) {
  return path.starts_with('/') && path.size() <= kMaxPathBytes && is_plain_text(path);
}

// Neither another user's, nor one that another user may write to.
bool is_private(Os& os, const struct stat& facts) {
  return facts.st_uid == os.identity().uid && (facts.st_mode & 022) == 0;
}

std::string parent_of(const std::string& path) {
  const std::size_t slash = path.rfind('/');
  return slash == 0 || slash == std::string::npos ? "/" : path.substr(0, slash);
}

// The same pool in a home that several machines share is one of each of them.
std::string record_name(const std::string& path, const std::string& host) {
  const std::string text = host + '\n' + path;
  return hash_text(content_hash(std::as_bytes(std::span(text))));
}

Result<std::string> absolute(Os& os, const std::string& path) {
  if (path.starts_with('/')) return path;
  STRATA_ASSIGN(const std::string here, os.read_link("/proc/self/cwd"));
  return here == "/" ? "/" + path : here + "/" + path;
}

// Through the open directory, whatever its name means by now.
std::string beneath(int directory_fd, const std::string& name = "") {
  return fmt::format("/proc/self/fd/{}{}{}", directory_fd, name.empty() ? "" : "/", name);
}

std::string take_line(std::string_view& text) {
  const std::size_t end = text.find('\n');
  if (end == std::string_view::npos) return {};
  std::string line(text.substr(0, end));
  text.remove_prefix(end + 1);
  return line;
}

}  // namespace

std::string user_pool_registry() {
  const std::string state = state_home();
  return state.empty() ? "" : state + "/strata/pools";
}

void PoolRegistry::record(const std::string& pool_path) {
  if (!directory_.empty()) (void)try_record(pool_path);
}

Result<void> PoolRegistry::try_record(const std::string& pool_path) {
  STRATA_ASSIGN(const std::string path, absolute(os_, pool_path));
  if (!is_good_path(path)) return fail(Code::invalid_argument, "not a path to keep");
  const std::string host = host_name();
  const std::string name = record_name(path, host);
  const auto known = os_.stat(directory_ + "/" + name);
  // An empty one is what a power failure left of it.
  if (known && known->st_size > 0) return {};
  STRATA_ASSIGN(const Fd directory, open_directory(Missing::make));
  const std::string text = path + '\n' + host + '\n' + mount_point_of(path) + '\n';
  std::uint64_t random = 0;
  STRATA_TRY(os_.get_random(std::as_writable_bytes(std::span(&random, 1))));
  const std::string unfinished = fmt::format("{}{:016x}", kUnfinishedPrefix, random);
  STRATA_ASSIGN(const Fd file,
                os_.open_at(directory.get(), unfinished, O_CREAT | O_EXCL | O_WRONLY, 0600));
  auto done = os_.pwrite(file.get(), std::as_bytes(std::span(text)), 0);
  if (done) {
    auto named = os_.rename(beneath(directory.get(), unfinished), beneath(directory.get(), name));
    if (named) return {};
    done = unexpected(named.error());
  }
  (void)os_.unlink_at(directory.get(), unfinished);
  return unexpected(done.error());
}

Result<Fd> PoolRegistry::open_directory(Missing missing) {
  constexpr int kFlags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW;
  auto directory = os_.open(directory_, kFlags);
  if (!directory && directory.error().code() == Code::not_found && missing == Missing::make) {
    STRATA_ASSIGN(const auto folders, missing_folders());
    for (const std::string& folder : folders) {
      const auto made = os_.mkdir(folder, 0700);
      if (!made && made.error().code() != Code::already_exists) return unexpected(made.error());
    }
    directory = os_.open(directory_, kFlags);
  }
  if (!directory) return directory;
  STRATA_ASSIGN(const struct stat facts, os_.fstat(directory->get()));
  if (!is_private(os_, facts)) {
    return fail(Code::permission_denied,
                fmt::format("{} belongs to uid {} and has mode {:04o}: it must be of uid {}, and "
                            "nobody else may write to it",
                            directory_, facts.st_uid, facts.st_mode & 07777, os_.identity().uid));
  }
  return directory;
}

// Under sudo the home can be another user's, who must not be given folders of ours.
Result<std::vector<std::string>> PoolRegistry::missing_folders() {
  std::vector<std::string> missing;
  for (std::string path = directory_;; path = parent_of(path)) {
    const auto facts = os_.stat(path);
    if (facts && !S_ISDIR(facts->st_mode)) {
      return fail(Code::failed_precondition, path + ": is not a folder");
    }
    if (facts && facts->st_uid == os_.identity().uid) break;
    if (facts) {
      return fail(Code::permission_denied,
                  fmt::format("{} belongs to uid {}", path, facts->st_uid));
    }
    if (facts.error().code() != Code::not_found) return unexpected(facts.error());
    if (missing.size() == kMaxMissingFolders) return fail(Code::not_found, path + ": is not there");
    missing.push_back(path);
  }
  std::reverse(missing.begin(), missing.end());
  return missing;
}

std::vector<RegisteredPool> PoolRegistry::pools() {
  std::vector<RegisteredPool> found;
  if (directory_.empty()) return found;
  const auto directory = open_directory(Missing::fail);
  if (!directory) return found;
  const auto names = os_.list_directory(beneath(directory->get()));
  if (!names) return found;
  std::size_t looked_at = 0;
  for (const std::string& name : *names) {
    if (name.size() != kRecordNameChars || name.starts_with('.')) continue;
    if (++looked_at > kMaxRecords) break;
    if (auto pool = read_record(directory->get(), name)) found.push_back(std::move(*pool));
  }
  std::sort(found.begin(), found.end(),
            [](const RegisteredPool& a, const RegisteredPool& b) { return a.path < b.path; });
  return found;
}

Result<RegisteredPool> PoolRegistry::read_record(int directory_fd, const std::string& name) {
  const auto refuse = [&] { return fail(Code::corrupt, name + ": is no record of a pool"); };
  STRATA_ASSIGN(const Fd file, os_.open_at(directory_fd, name, O_RDONLY | O_NONBLOCK | O_NOCTTY));
  STRATA_ASSIGN(const struct stat facts, os_.fstat(file.get()));
  if (!S_ISREG(facts.st_mode) || !is_private(os_, facts)) return refuse();
  std::string bytes(kMaxRecordBytes + 1, '\0');
  STRATA_ASSIGN(const std::size_t got,
                os_.pread(file.get(), std::as_writable_bytes(std::span(bytes)), 0));
  if (got > kMaxRecordBytes) return refuse();
  std::string_view text(bytes.data(), got);
  RegisteredPool pool;
  pool.path = take_line(text);
  const std::string host = take_line(text);
  pool.mount_point = take_line(text);
  pool.record = name;
  const bool is_sound = text.empty() && is_good_path(pool.path) && is_good_path(pool.mount_point) &&
                        name == record_name(pool.path, host);
  if (!is_sound || host != host_name()) return refuse();
  return pool;
}

// The topmost folder of the file system that `path` is on, or would be on.
std::string PoolRegistry::mount_point_of(const std::string& path) {
  std::string found = path;
  std::optional<dev_t> device;
  for (std::string at = path;; at = parent_of(at)) {
    const auto facts = os_.stat(at);
    if (facts) {
      if (device && facts->st_dev != *device) break;
      device = facts->st_dev;
      found = at;
    }
    if (at == "/") break;
  }
  return found;
}

bool PoolRegistry::is_gone(const RegisteredPool& pool) {
  const auto facts = os_.stat(pool.path);
  if (facts || facts.error().code() != Code::not_found) return false;
  // Where the folder has been a mount point, and is none now, the pool may well come back.
  return mount_point_of(pool.path) == pool.mount_point;
}

void PoolRegistry::drop(const RegisteredPool& pool) {
  const auto directory = open_directory(Missing::fail);
  if (directory) (void)os_.unlink_at(directory->get(), pool.record);
}

void PoolRegistry::drop_unfinished() {
  if (directory_.empty()) return;
  const auto directory = open_directory(Missing::fail);
  if (!directory) return;
  const auto names = os_.list_directory(beneath(directory->get()));
  if (!names) return;
  const auto now_s = static_cast<time_t>(unix_ns() / 1'000'000'000);
  for (const std::string& name : *names) {
    if (!name.starts_with(kUnfinishedPrefix)) continue;
    const auto facts = os_.stat_at(directory->get(), name);
    if (facts && facts->st_mtime + kUnfinishedForSeconds < now_s) {
      (void)os_.unlink_at(directory->get(), name);
    }
  }
}

std::string PoolRegistry::explain_absence(const std::string& pool_path) {
  if (os_.stat(pool_path)) return {};
  for (const RegisteredPool& pool : pools()) {
    if (pool.path != pool_path || is_gone(pool)) continue;
    return fmt::format(
        "the file system that was at {} is not: mount it, or forget this pool by rm "
        "{}/{}",
        pool.mount_point, directory_, pool.record);
  }
  return {};
}

std::string PoolRegistry::problem() {
  if (directory_.empty()) return "no home directory is known: set HOME or XDG_STATE_HOME";
  const auto directory = open_directory(Missing::fail);
  if (directory) return {};
  if (directory.error().code() != Code::not_found) return directory.error().message();
  // It is made when there is something to record.
  const auto folders = missing_folders();
  return folders ? "" : folders.error().message();
}

}  // namespace strata::inline v0_1
