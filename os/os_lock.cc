#include <fcntl.h>
#include <sys/file.h>

#include "os/os.h"
#include "os/os_internal.h"

namespace strata::inline v0_1 {
namespace {

struct flock byte_range(short type, std::uint64_t offset_bytes, std::uint64_t bytes) {
  struct flock range {};
  range.l_type = type;
  range.l_whence = SEEK_SET;
  range.l_start = static_cast<off_t>(offset_bytes);
  range.l_len = static_cast<off_t>(bytes);
  return range;
}

short lock_type(LockKind kind) { return kind == LockKind::shared ? F_RDLCK : F_WRLCK; }

}  // namespace

Result<bool> Os::try_lock_byte(int fd, std::uint64_t offset_bytes, LockKind kind) {
  return try_lock_range(fd, offset_bytes, 1, kind);
}

Result<bool> Os::try_lock_range(int fd, std::uint64_t offset_bytes, std::uint64_t bytes,
                                LockKind kind) {
  struct flock range = byte_range(lock_type(kind), offset_bytes, bytes);
  if (const int injected = before("lock")) return unexpected(status_from_errno(injected, "lock"));
  if (::fcntl(fd, F_OFD_SETLK, &range) == 0) return true;
  if (errno == EAGAIN || errno == EACCES) return false;
  return unexpected(status_from_errno(errno, "lock"));
}

Result<void> Os::unlock_byte(int fd, std::uint64_t offset_bytes) {
  struct flock range = byte_range(F_UNLCK, offset_bytes, 1);
  STRATA_OS_CALL(rc, "unlock", "unlock", ::fcntl(fd, F_OFD_SETLK, &range));
  return {};
}

Result<bool> Os::is_range_locked(int fd, std::uint64_t offset_bytes, std::uint64_t bytes,
                                 LockKind kind) {
  struct flock range = byte_range(lock_type(kind), offset_bytes, bytes);
  STRATA_OS_CALL(rc, "probe_lock", "probe lock", ::fcntl(fd, F_OFD_GETLK, &range));
  return range.l_type != F_UNLCK;
}

Result<bool> Os::try_lock_file(int fd, LockKind kind) {
  if (const int injected = before("flock")) return unexpected(status_from_errno(injected, "flock"));
  if (::flock(fd, (kind == LockKind::shared ? LOCK_SH : LOCK_EX) | LOCK_NB) == 0) return true;
  if (errno == EWOULDBLOCK) return false;
  return unexpected(status_from_errno(errno, "flock"));
}

Result<void> Os::unlock_file(int fd) {
  STRATA_OS_CALL(rc, "unlock_file", "unlock file", ::flock(fd, LOCK_UN));
  return {};
}

}  // namespace strata::inline v0_1
