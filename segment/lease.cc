#include "segment/lease.h"

#include <fmt/format.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <cinttypes>
#include <cstdio>
#include <cstring>
#include <functional>
#include <sstream>

#include "strata/base/bytes.h"

#ifndef MADV_WIPEONFORK
#define MADV_WIPEONFORK 18  // Linux 4.14; older C headers lack it
#endif

namespace strata::inline v0_1 {
namespace {

constexpr int kMaxTokenTries = 1024;
constexpr std::uint64_t kRetryNs = 200'000;  // while another process changes the segment

struct FileId {
  unsigned major_id;
  unsigned minor_id;
  std::uint64_t inode;
};

// Adds what one "lock:" line of /proc/PID/fdinfo/FD says, where it is about `file`:
// "lock:\t1: OFDLCK  ADVISORY  WRITE -1 00:1a:4711 281474976710656 281474976710656"
bool read_lock_line(const std::string& line, const FileId& file, std::uint64_t base_bytes,
                    Holder& holder) {
  char kind[16], advisory[16], type[16], end[32];
  long pid = 0;
  unsigned major_id = 0, minor_id = 0;
  std::uint64_t inode = 0, start = 0;
  if (std::sscanf(line.c_str(), "lock: %*u: %15s %15s %15s %ld %x:%x:%" SCNu64 " %" SCNu64 " %31s",
                  kind, advisory, type, &pid, &major_id, &minor_id, &inode, &start, end) != 9) {
    return false;
  }
  if (inode != file.inode || major_id != file.major_id || minor_id != file.minor_id) return false;
  if (start < base_bytes || start - base_bytes >= kLockRangeBytes) return false;
  const std::uint64_t byte = start - base_bytes;
  holder.is_writer |= byte == kWriterByte;
  holder.is_creator |= byte == kCreatorByte;
  if (byte > kTokenByte) holder.token = static_cast<std::uint32_t>(byte - kTokenByte);
  return true;
}

}  // namespace

std::vector<Holder> find_holders(Os& os, LockRange range) {
  std::vector<Holder> holders;
  const auto stat = os.fstat(range.fd);
  if (!stat) return holders;
  const FileId file{major(stat->st_dev), minor(stat->st_dev), stat->st_ino};
  const auto processes = os.list_directory("/proc");
  if (!processes) return holders;
  for (const std::string& process : *processes) {
    if (process[0] < '0' || process[0] > '9') continue;
    const auto fds = os.list_directory("/proc/" + process + "/fdinfo");
    if (!fds) continue;  // another user's, or gone meanwhile
    for (const std::string& fd : *fds) {
      const auto info = os.read_file("/proc/" + process + "/fdinfo/" + fd);
      if (!info || info->find("lock:") == std::string::npos) continue;
      Holder holder;
      bool holds = false;
      std::istringstream lines(*info);
      for (std::string line; std::getline(lines, line);) {
        if (line.starts_with("lock:"))
          holds |= read_lock_line(line, file, range.base_bytes, holder);
      }
      if (!holds) continue;
      holder.pid = static_cast<pid_t>(std::strtol(process.c_str(), nullptr, 10));
      holder.start_time_ticks = read_start_time(os, holder.pid).value_or(0);
      holder.command = read_command_name(os, holder.pid);
      holders.push_back(std::move(holder));
    }
  }
  return holders;
}

std::string describe(const std::vector<Holder>& holders) {
  if (holders.empty()) return "a process that cannot be seen from here";
  std::string text;
  for (std::size_t i = 0; i < holders.size() && i < 5; ++i) {
    text += fmt::format("{}pid {} ({})", i ? ", " : "", holders[i].pid, holders[i].command);
  }
  if (holders.size() > 5) text += fmt::format(" and {} more", holders.size() - 5);
  return text;
}

Result<ChangeLock> ChangeLock::take(Os& os, LockRange range, Deadline deadline) {
  while (true) {
    STRATA_ASSIGN(const bool locked,
                  os.try_lock_byte(range.fd, range.base_bytes + kChangeByte, LockKind::exclusive));
    if (locked) return ChangeLock(os, range);
    if (deadline.expired()) {
      return fail(Code::timed_out,
                  "another process is changing the segment: " + describe(find_holders(os, range)));
    }
    os.sleep_ns(kRetryNs);
  }
}

ChangeLock::~ChangeLock() {
  if (range_.fd >= 0) (void)os_.unlock_byte(range_.fd, range_.base_bytes + kChangeByte);
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

Result<std::unique_ptr<Participant>> Participant::join(Os& os, LockRange range,
                                                       std::atomic<std::uint32_t>& next) {
  STRATA_ASSIGN(std::byte* const page,
                os.mmap({.bytes = kPageBytes, .flags = MAP_PRIVATE | MAP_ANONYMOUS}));
  const auto give_up = [&](Status status) {
    (void)os.munmap(page, kPageBytes);
    return unexpected(std::move(status));
  };
  // The child of a fork must not pass for its parent: the kernel zeroes its token.
  if (auto wiped = os.madvise(page, kPageBytes, MADV_WIPEONFORK); !wiped) {
    return give_up(wiped.error());
  }
  // The counter is a hint that anybody may have overwritten; the lock is what makes a token ours.
  for (int i = 0; i < kMaxTokenTries; ++i) {
    const std::uint32_t token = next.fetch_add(1, std::memory_order_relaxed) & kMaxToken;
    if (token == 0) continue;
    auto locked =
        os.try_lock_byte(range.fd, range.base_bytes + kTokenByte + token, LockKind::exclusive);
    if (!locked) return give_up(locked.error().in("join segment"));
    if (!*locked) continue;
    auto* word = reinterpret_cast<std::uint32_t*>(page);
    *word = token;
    return std::unique_ptr<Participant>(new Participant(os, range, word, token));
  }
  return give_up(Status(
      Code::exhausted, fmt::format("join segment: {} tokens in a row were taken", kMaxTokenTries)));
}

Participant::Participant(Os& os, LockRange range, std::uint32_t* page, std::uint32_t)
    : Owner(page, os.identity().pid, os.identity().start_time_ticks), os_(os), range_(range) {}

Participant::~Participant() {
  // In a forked child the token reads 0, and the lock still belongs to the parent.
  if (*token_ != 0) (void)os_.unlock_byte(range_.fd, range_.base_bytes + kTokenByte + *token_);
  (void)os_.munmap(token_, kPageBytes);
}

Result<bool> Participant::is_alive(std::uint32_t token) const {
  if (token == 0 || token > kMaxToken) return false;
  if (token == *token_) return true;
  return os_.is_range_locked(range_.fd, range_.base_bytes + kTokenByte + token, 1,
                             LockKind::exclusive);
}

std::string Participant::describe(std::uint32_t token) const {
  std::vector<Holder> holders = find_holders(os_, range_);
  std::erase_if(holders, [&](const Holder& holder) { return holder.token != token; });
  return strata::describe(holders);
}

}  // namespace strata::inline v0_1
