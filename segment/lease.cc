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

// Which byte of the lock range one "lock:" line of /proc/PID/fdinfo/FD is about, where it is about
// `file`: "lock:\t1: OFDLCK  ADVISORY  WRITE -1 00:1a:4711 281474976710656 281474976710656"
std::optional<std::uint64_t> byte_of_lock_line(const std::string& line, const FileId& file,
                                               std::uint64_t base_bytes) {
  char kind[16], advisory[16], type[16], end[32];
  long pid = 0;
  unsigned major_id = 0, minor_id = 0;
  std::uint64_t inode = 0, start = 0;
  if (std::sscanf(line.c_str(), "lock: %*u: %15s %15s %15s %ld %x:%x:%" SCNu64 " %" SCNu64 " %31s",
                  kind, advisory, type, &pid, &major_id, &minor_id, &inode, &start, end) != 9) {
    return std::nullopt;
  }
  if (inode != file.inode || major_id != file.major_id || minor_id != file.minor_id)
    return std::nullopt;
  if (start < base_bytes || start - base_bytes >= kLockRangeBytes) return std::nullopt;
  return start - base_bytes;
}

// What one process holds, by its descriptors.
struct Held {
  std::vector<Holder> attachments;
  // Locked through descriptors of their own, which are no attachments.
  std::vector<std::uint32_t> tokens;

  void add(const std::string& fdinfo, const FileId& file, std::uint64_t base_bytes) {
    Holder holder;
    bool is_attachment = false;
    std::istringstream lines(fdinfo);
    for (std::string line; std::getline(lines, line);) {
      if (!line.starts_with("lock:")) continue;
      const auto byte = byte_of_lock_line(line, file, base_bytes);
      if (!byte) continue;
      if (*byte > kTokenByte) {
        tokens.push_back(static_cast<std::uint32_t>(*byte - kTokenByte));
        continue;
      }
      is_attachment = true;
      holder.is_writer |= *byte == kWriterByte;
      holder.is_creator |= *byte == kCreatorByte;
    }
    if (is_attachment) attachments.push_back(std::move(holder));
  }

  // Each token with one of the attachments; by itself where there are more tokens.
  std::vector<Holder> together() && {
    for (std::size_t i = 0; i < tokens.size(); ++i) {
      if (i == attachments.size()) attachments.emplace_back();
      attachments[i].token = tokens[i];
    }
    return std::move(attachments);
  }
};

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
    Held held;
    for (const std::string& fd : *fds) {
      const auto info = os.read_file("/proc/" + process + "/fdinfo/" + fd);
      if (!info || info->find("lock:") == std::string::npos) continue;
      held.add(*info, file, range.base_bytes);
    }
    for (Holder& holder : std::move(held).together()) {
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

Result<std::unique_ptr<Participant>> Participant::join(Os& os, Fd file, std::uint64_t base_bytes,
                                                       std::atomic<std::uint32_t>& next,
                                                       const ForkGate& gate) {
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
        os.try_lock_byte(file.get(), base_bytes + kTokenByte + token, LockKind::exclusive);
    if (!locked) return give_up(locked.error().in("join segment"));
    if (!*locked) continue;
    auto* word = reinterpret_cast<std::uint32_t*>(page);
    *word = token;
    return std::unique_ptr<Participant>(
        new Participant(os, std::move(file), base_bytes, word, gate));
  }
  return give_up(Status(
      Code::exhausted, fmt::format("join segment: {} tokens in a row were taken", kMaxTokenTries)));
}

Participant::Participant(Os& os, Fd file, std::uint64_t base_bytes, std::uint32_t* page,
                         const ForkGate& gate)
    : Owner(page, os.identity().pid, os.identity().start_time_ticks),
      os_(os),
      file_(std::move(file), gate),
      base_bytes_(base_bytes) {}

// The lock on the token goes with its file.
Participant::~Participant() { (void)os_.munmap(token_, kPageBytes); }

Result<bool> Participant::is_alive(std::uint32_t token) const {
  if (token == 0 || token > kMaxToken) return false;
  if (token == *token_) return true;
  return os_.is_range_locked(file_.get(), base_bytes_ + kTokenByte + token, 1, LockKind::exclusive);
}

std::string Participant::describe(std::uint32_t token) const {
  std::vector<Holder> holders = find_holders(os_, range());
  std::erase_if(holders, [&](const Holder& holder) { return holder.token != token; });
  return strata::describe(holders);
}

}  // namespace strata::inline v0_1
