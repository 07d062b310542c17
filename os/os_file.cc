#include <dirent.h>
#include <fcntl.h>
#include <linux/fiemap.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <climits>
#include <cstdlib>

#include "os/file_size_limit.h"
#include "os/os.h"
#include "os/os_internal.h"

namespace strata::inline v0_1 {

void Fd::reset(int fd) {
  if (fd_ >= 0) ::close(fd_);
  fd_ = fd;
}

int Os::before(const char*) { return 0; }

Result<Fd> Os::open(const std::string& path, int flags, mode_t mode) {
  STRATA_OS_CALL(fd, "open", "open " + path, ::open(path.c_str(), flags | O_CLOEXEC, mode));
  return Fd(fd);
}

Result<Fd> Os::reopen(int fd, int flags) {
  return open("/proc/self/fd/" + std::to_string(fd), flags);
}

Result<Fd> Os::memfd_create(const std::string& name, unsigned flags) {
  STRATA_OS_CALL(fd, "memfd_create", "memfd_create " + name,
                 ::memfd_create(name.c_str(), flags | MFD_CLOEXEC));
  return Fd(fd);
}

Result<Fd> Os::dup(int fd) {
  STRATA_OS_CALL(copy, "dup", "dup", ::fcntl(fd, F_DUPFD_CLOEXEC, 0));
  return Fd(copy);
}

Result<void> Os::replace_fd(int fd, int by) {
  STRATA_OS_CALL(rc, "dup3", "dup3", ::dup3(by, fd, O_CLOEXEC));
  return {};
}

Result<void> Os::ftruncate(int fd, std::uint64_t bytes) {
  const ExpectFileSizeLimit expected;
  STRATA_OS_CALL(rc, "ftruncate", "ftruncate to " + std::to_string(bytes) + " bytes",
                 ::ftruncate(fd, static_cast<off_t>(bytes)));
  return {};
}

Result<void> Os::fallocate(int fd, int mode, std::uint64_t offset_bytes, std::uint64_t bytes) {
  const ExpectFileSizeLimit expected;
  int rc = 0;
  do {  // a signal can interrupt a long allocation; what was allocated stays
    if (const int injected = before("fallocate")) {
      return unexpected(status_from_errno(injected, "fallocate"));
    }
    rc = ::fallocate(fd, mode, static_cast<off_t>(offset_bytes), static_cast<off_t>(bytes));
  } while (rc < 0 && errno == EINTR);
  if (rc < 0) {
    return unexpected(failed_call(errno, "fallocate of " + std::to_string(bytes) + " bytes"));
  }
  return {};
}

Result<struct stat> Os::fstat(int fd) {
  struct stat facts {};
  STRATA_OS_CALL(rc, "fstat", "fstat", ::fstat(fd, &facts));
  return facts;
}

Result<struct stat> Os::stat(const std::string& path) {
  struct stat facts {};
  STRATA_OS_CALL(rc, "stat", "stat " + path, ::stat(path.c_str(), &facts));
  return facts;
}

Result<FileIdentity> Os::file_identity(const std::string& path) {
  struct statx facts {};
  STRATA_OS_CALL(rc, "statx", "statx " + path,
                 ::statx(AT_FDCWD, path.c_str(), 0, STATX_INO | STATX_BTIME, &facts));
  FileIdentity identity{makedev(facts.stx_dev_major, facts.stx_dev_minor), facts.stx_ino, 0};
  if (facts.stx_mask & STATX_BTIME) {
    identity.birth_unix_ns = static_cast<std::uint64_t>(facts.stx_btime.tv_sec) * 1'000'000'000 +
                             facts.stx_btime.tv_nsec;
  }
  return identity;
}

Result<struct statfs> Os::fstatfs(int fd) {
  struct statfs facts {};
  STRATA_OS_CALL(rc, "fstatfs", "fstatfs", ::fstatfs(fd, &facts));
  return facts;
}

Result<struct statfs> Os::statfs(const std::string& path) {
  struct statfs facts {};
  STRATA_OS_CALL(rc, "statfs", "statfs " + path, ::statfs(path.c_str(), &facts));
  return facts;
}

Result<std::string> Os::real_path(const std::string& path) {
  char resolved[PATH_MAX];
  STRATA_OS_CALL(rc, "realpath", "resolve " + path,
                 ::realpath(path.c_str(), resolved) == nullptr ? -1 : 0);
  return std::string(resolved);
}

Result<void> Os::fchmod(int fd, mode_t mode) {
  STRATA_OS_CALL(rc, "fchmod", "fchmod", ::fchmod(fd, mode));
  return {};
}

Result<void> Os::link_fd(int fd, const std::string& path) {
  if (const int injected = before("linkat")) {
    return unexpected(status_from_errno(injected, "link " + path));
  }
  // The short way needs CAP_DAC_READ_SEARCH, or from Linux 6.10 on to have opened the file
  // oneself; the link in /proc needs nothing, and twice the time.
  if (::linkat(fd, "", AT_FDCWD, path.c_str(), AT_EMPTY_PATH) == 0) return {};
  if (errno != ENOENT && errno != EPERM && errno != EINVAL) {
    return unexpected(status_from_errno(errno, "link " + path));
  }
  const std::string source = "/proc/self/fd/" + std::to_string(fd);
  if (::linkat(AT_FDCWD, source.c_str(), AT_FDCWD, path.c_str(), AT_SYMLINK_FOLLOW) != 0) {
    return unexpected(status_from_errno(errno, "link " + path));
  }
  return {};
}

Result<void> Os::link(const std::string& from, const std::string& to) {
  STRATA_OS_CALL(rc, "link", "link " + from + " as " + to, ::link(from.c_str(), to.c_str()));
  return {};
}

Result<void> Os::unlink(const std::string& path) {
  STRATA_OS_CALL(rc, "unlink", "unlink " + path, ::unlink(path.c_str()));
  return {};
}

Result<void> Os::rename(const std::string& from, const std::string& to) {
  STRATA_OS_CALL(rc, "rename", "rename " + from + " to " + to, ::rename(from.c_str(), to.c_str()));
  return {};
}

Result<Fd> Os::open_at(int directory_fd, const std::string& name, int flags, mode_t mode) {
  STRATA_OS_CALL(fd, "openat", "open " + name,
                 ::openat(directory_fd, name.c_str(), flags | O_CLOEXEC | O_NOFOLLOW, mode));
  return Fd(fd);
}

Result<struct stat> Os::stat_at(int directory_fd, const std::string& name) {
  struct stat facts {};
  STRATA_OS_CALL(rc, "fstatat", "stat " + name,
                 ::fstatat(directory_fd, name.c_str(), &facts, AT_SYMLINK_NOFOLLOW));
  return facts;
}

Result<void> Os::unlink_at(int directory_fd, const std::string& name) {
  STRATA_OS_CALL(rc, "unlinkat", "unlink " + name, ::unlinkat(directory_fd, name.c_str(), 0));
  return {};
}

Result<void> Os::rename_at(int directory_fd, const std::string& from, const std::string& to) {
  STRATA_OS_CALL(
      rc, "renameat", "rename " + from + " to " + to,
      ::renameat2(directory_fd, from.c_str(), directory_fd, to.c_str(), RENAME_NOREPLACE));
  return {};
}

Result<void> Os::mkdir(const std::string& path, mode_t mode) {
  STRATA_OS_CALL(rc, "mkdir", "mkdir " + path, ::mkdir(path.c_str(), mode));
  return {};
}

Result<void> Os::rmdir(const std::string& path) {
  STRATA_OS_CALL(rc, "rmdir", "rmdir " + path, ::rmdir(path.c_str()));
  return {};
}

Result<std::vector<std::string>> Os::list_directory(const std::string& path) {
  if (const int injected = before("opendir")) {
    return unexpected(status_from_errno(injected, "list " + path));
  }
  DIR* directory = ::opendir(text_path(path).c_str());
  if (directory == nullptr) return unexpected(status_from_errno(errno, "list " + path));
  std::vector<std::string> names;
  while (const dirent* entry = ::readdir(directory)) {
    const std::string name = entry->d_name;
    if (name != "." && name != "..") names.push_back(name);
  }
  ::closedir(directory);
  std::sort(names.begin(), names.end());
  return names;
}

Result<std::string> Os::read_link(const std::string& path) {
  char target[PATH_MAX];
  STRATA_OS_CALL(bytes, "readlink", "readlink " + path,
                 ::readlink(path.c_str(), target, sizeof target));
  return std::string(target, static_cast<std::size_t>(bytes));
}

Result<std::string> Os::read_file(const std::string& path) {
  STRATA_ASSIGN(const Fd fd, open(text_path(path), O_RDONLY));
  std::string text;
  char chunk[16384];
  while (true) {
    STRATA_OS_CALL(bytes, "read", "read " + path, ::read(fd.get(), chunk, sizeof chunk));
    if (bytes == 0) return text;
    text.append(chunk, static_cast<std::size_t>(bytes));
  }
}

Result<std::size_t> Os::pread(int fd, std::span<std::byte> into, std::uint64_t offset_bytes) {
  std::size_t done = 0;
  while (done < into.size()) {
    STRATA_OS_CALL(bytes, "pread", "pread",
                   ::pread(fd, into.data() + done, into.size() - done,
                           static_cast<off_t>(offset_bytes + done)));
    if (bytes == 0) break;
    done += static_cast<std::size_t>(bytes);
  }
  return done;
}

Result<std::size_t> Os::read(int fd, std::span<std::byte> into) {
  while (true) {
    if (const int injected = before("read")) {
      return unexpected(status_from_errno(injected, "read"));
    }
    const ssize_t bytes = ::read(fd, into.data(), into.size());
    if (bytes >= 0) return static_cast<std::size_t>(bytes);
    if (errno != EINTR) return unexpected(failed_call(errno, "read"));
  }
}

Result<std::uint64_t> Os::position(int fd) {
  STRATA_OS_CALL(offset, "lseek", "lseek", ::lseek(fd, 0, SEEK_CUR));
  return static_cast<std::uint64_t>(offset);
}

Result<std::size_t> Os::pwrite(int fd, std::span<const std::byte> from,
                               std::uint64_t offset_bytes) {
  const ExpectFileSizeLimit expected;
  std::size_t done = 0;
  while (done < from.size()) {
    STRATA_OS_CALL(bytes, "pwrite", "pwrite",
                   ::pwrite(fd, from.data() + done, from.size() - done,
                            static_cast<off_t>(offset_bytes + done)));
    done += static_cast<std::size_t>(bytes);
  }
  return done;
}

Result<void> Os::fdatasync(int fd) {
  STRATA_OS_CALL(rc, "fdatasync", "fdatasync", ::fdatasync(fd));
  return {};
}

Result<void> Os::fsync(int fd) {
  STRATA_OS_CALL(rc, "fsync", "fsync", ::fsync(fd));
  return {};
}

Result<void> Os::start_writeback(int fd, FileRange range) {
  STRATA_OS_CALL(
      rc, "sync_file_range", "start to write out",
      ::sync_file_range(fd, static_cast<off_t>(range.begin),
                        static_cast<off_t>(range.end - range.begin), SYNC_FILE_RANGE_WRITE));
  return {};
}

Result<void> Os::clone_file(int to_fd, int from_fd) {
  const ExpectFileSizeLimit expected;
  STRATA_OS_CALL(rc, "ficlone", "clone file", ::ioctl(to_fd, FICLONE, from_fd));
  return {};
}

Result<std::vector<FileRange>> Os::shared_extents(int fd, FileRange range) {
  constexpr std::uint32_t kExtentsAtOnce = 64;
  alignas(fiemap) std::array<std::byte, sizeof(fiemap) + kExtentsAtOnce * sizeof(fiemap_extent)>
      memory;
  std::vector<FileRange> shared;
  std::uint64_t from = range.begin;
  while (from < range.end) {
    memory.fill(std::byte{0});
    auto* const request = reinterpret_cast<fiemap*>(memory.data());
    request->fm_start = from;
    request->fm_length = range.end - from;
    request->fm_extent_count = kExtentsAtOnce;
    STRATA_OS_CALL(rc, "fiemap", "list the extents of a file", ::ioctl(fd, FS_IOC_FIEMAP, request));
    const std::uint32_t count = std::min(request->fm_mapped_extents, kExtentsAtOnce);
    for (std::uint32_t i = 0; i < count; ++i) {
      const fiemap_extent& extent = request->fm_extents[i];
      from = std::max<std::uint64_t>(from, extent.fe_logical + extent.fe_length);
      if ((extent.fe_flags & FIEMAP_EXTENT_SHARED) == 0) continue;
      const std::uint64_t begin = std::max<std::uint64_t>(range.begin, extent.fe_logical);
      const std::uint64_t end =
          std::min<std::uint64_t>(range.end, extent.fe_logical + extent.fe_length);
      if (begin < end) shared.push_back({begin, end});
    }
    const bool is_last = count < kExtentsAtOnce ||
                         (request->fm_extents[count - 1].fe_flags & FIEMAP_EXTENT_LAST) != 0;
    if (is_last) break;
  }
  return shared;
}

Result<std::vector<FileRange>> Os::data_extents(int fd, FileRange range) {
  std::vector<FileRange> data;
  std::uint64_t from = range.begin;
  while (from < range.end) {
    if (const int injected = before("seek")) return unexpected(status_from_errno(injected, "seek"));
    const off_t begin = ::lseek(fd, static_cast<off_t>(from), SEEK_DATA);
    if (begin < 0 && errno == ENXIO) break;  // holes up to the end
    if (begin < 0 && errno == EINVAL) return std::vector{range};
    const off_t end = begin < 0 ? -1 : ::lseek(fd, begin, SEEK_HOLE);
    if (end < 0) return unexpected(status_from_errno(errno, "list the data of a file"));
    from = std::min<std::uint64_t>(range.end, static_cast<std::uint64_t>(end));
    if (static_cast<std::uint64_t>(begin) < from) {
      data.push_back({static_cast<std::uint64_t>(begin), from});
    }
  }
  return data;
}

Result<void> Os::add_seals(int fd, unsigned seals) {
  STRATA_OS_CALL(rc, "add_seals", "add seals", ::fcntl(fd, F_ADD_SEALS, seals));
  return {};
}

Result<unsigned> Os::get_seals(int fd) {
  STRATA_OS_CALL(seals, "get_seals", "get seals", ::fcntl(fd, F_GET_SEALS));
  return static_cast<unsigned>(seals);
}

}  // namespace strata::inline v0_1
