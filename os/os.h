// Os is the only door to the kernel: one method for each system call that Strata makes on
// files, memory, locks and sockets. Tests put a FaultOs (os/fault_os.h) in its place, which
// fails or kills at the n-th call, or a StagedOs (os/staged_os.h) that shows another machine.
//   Threads:  any.
//   Lifetime: outlives everything that was made through it.
//   Errors:   each method returns the errno as a Status; the message names call and object.
//   Cost:     one virtual call over the system call.
// Futex waits (strata/os/futex.h) and clock reads (strata/os/deadline.h) are hot and cannot fail:
// they stand beside this class, not in it.
#pragma once

#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/vfs.h>

#include <atomic>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "strata/base/result.h"
#include "strata/os/deadline.h"
#include "strata/os/fd.h"
#include "strata/os/process_identity.h"

namespace strata::inline v0_1 {

// A piece of a file.
struct FileRange {
  std::uint64_t begin;
  std::uint64_t end;
};

// A file for as long as it lives: the number of a deleted one can come back, the moment of its
// birth does not.
struct FileIdentity {
  std::uint64_t device;
  std::uint64_t inode;
  std::uint64_t birth_unix_ns;  // 0 where the file system does not keep it
  auto operator<=>(const FileIdentity&) const = default;
};

// Pages that are mapped into this process, side by side and of one kind.
struct MappedRun {
  std::byte* start;
  std::uint64_t bytes;
  bool is_huge;  // by entries of 2 MiB or more
};

enum class LockKind : std::uint8_t { shared, exclusive };

struct MapRequest {
  void* address = nullptr;  // a hint, or the place itself with MAP_FIXED in `flags`
  std::size_t bytes = 0;
  int protection = PROT_READ | PROT_WRITE;
  int flags = MAP_SHARED;
  int fd = -1;
  std::uint64_t offset_bytes = 0;
};

// What the peer of a UNIX socket is, as the kernel vouches for it.
struct PeerCredentials {
  pid_t pid;
  uid_t uid;
  gid_t gid;
};

inline constexpr std::size_t kMaxMessageFds = 8;  // that one message may carry

struct ReceivedMessage {
  std::size_t bytes = 0;  // 0: the peer has closed its end
  std::vector<Fd> fds;
  bool is_cut = false;  // the packet was longer than what it was read into; its rest is gone
};

class Os {
 public:
  Os() = default;
  Os(const Os&) = delete;
  Os& operator=(const Os&) = delete;
  virtual ~Os();

  // Files. O_CLOEXEC is always added.
  Result<Fd> open(const std::string& path, int flags, mode_t mode = 0);
  // Another open file on the file behind `fd`, which may have no name any more: locks, and the
  // right to write, belong to the open file.
  Result<Fd> reopen(int fd, int flags);
  Result<Fd> memfd_create(const std::string& name, unsigned flags);
  Result<Fd> dup(int fd);
  // The number `fd` stands for the open file behind `by` from now on, in this process alone.
  Result<void> replace_fd(int fd, int by);
  Result<void> ftruncate(int fd, std::uint64_t bytes);
  Result<void> fallocate(int fd, int mode, std::uint64_t offset_bytes, std::uint64_t bytes);
  Result<struct stat> fstat(int fd);
  Result<struct stat> stat(const std::string& path);
  Result<FileIdentity> file_identity(const std::string& path);
  Result<struct statfs> fstatfs(int fd);
  Result<struct statfs> statfs(const std::string& path);
  // Without symbolic links, dots and doubled slashes. Errors: not_found.
  Result<std::string> real_path(const std::string& path);
  Result<void> fchmod(int fd, mode_t mode);
  Result<void> fchown(int fd, uid_t owner, gid_t group);
  // Extended attributes by their whole names, such as "user.note". Where the file system has none
  // the list is empty.
  Result<std::vector<std::string>> list_attributes(int fd);
  Result<std::string> get_attribute(int fd, const std::string& name);
  Result<void> set_attribute(int fd, const std::string& name, const std::string& value);
  Result<void> remove_attribute(int fd, const std::string& name);
  Result<void> link_fd(int fd, const std::string& path);  // names an O_TMPFILE file; never replaces
  // Another name for the file `from`; never replaces. Errors: already_exists.
  Result<void> link(const std::string& from, const std::string& to);
  Result<void> unlink(const std::string& path);
  Result<void> rename(const std::string& from, const std::string& to);
  // The same beneath an open directory (O_PATH is enough). `name` has no slash, and what it names
  // is looked at itself: a symbolic link is never followed.
  Result<Fd> open_at(int directory_fd, const std::string& name, int flags, mode_t mode = 0);
  Result<struct stat> stat_at(int directory_fd, const std::string& name);
  Result<void> unlink_at(int directory_fd, const std::string& name);
  // Never replaces: already_exists where `to` is taken.
  Result<void> rename_at(int directory_fd, const std::string& from, const std::string& to);
  Result<void> mkdir(const std::string& path, mode_t mode);
  Result<void> rmdir(const std::string& path);                               // an empty one
  Result<std::vector<std::string>> list_directory(const std::string& path);  // sorted, no dots
  Result<std::string> read_link(const std::string& path);
  Result<std::string> read_file(const std::string& path);  // whole; meant for /proc and /sys
  Result<std::size_t> pread(int fd, std::span<std::byte> into, std::uint64_t offset_bytes);
  // What comes next from a pipe, a socket or a file: at least one byte, 0 at the end.
  Result<std::size_t> read(int fd, std::span<std::byte> into);
  // Where read() of a file goes on.
  Result<std::uint64_t> position(int fd);
  Result<std::size_t> pwrite(int fd, std::span<const std::byte> from, std::uint64_t offset_bytes);
  Result<void> fdatasync(int fd);
  Result<void> fsync(int fd);
  // Begins to write the range out, and does not wait (sync_file_range). Promises nothing.
  Result<void> start_writeback(int fd, FileRange range);
  Result<void> clone_file(int to_fd, int from_fd);  // FICLONE: copy-on-write, or unsupported
  // What in the range is on blocks that another file has too (FIEMAP), ascending; unsupported where
  // the file system cannot tell.
  Result<std::vector<FileRange>> shared_extents(int fd, FileRange range);
  // What in the range is not a hole, ascending. What was allocated and never written is a hole,
  // unless it has been read since: ask first. All of the range where the file system cannot tell.
  Result<std::vector<FileRange>> data_extents(int fd, FileRange range);
  Result<void> add_seals(int fd, unsigned seals);
  Result<unsigned> get_seals(int fd);

  // Memory.
  Result<std::byte*> mmap(const MapRequest& request);
  Result<void> munmap(void* address, std::size_t bytes);
  Result<void> mprotect(void* address, std::size_t bytes, int protection);
  Result<void> madvise(void* address, std::size_t bytes, int advice);
  Result<void> msync(void* address, std::size_t bytes, int flags);
  Result<void> mlock(void* address, std::size_t bytes);
  // One element for each 4 KiB page: whether it has memory, mapped here or not.
  Result<std::vector<bool>> mincore(void* address, std::size_t bytes);
  // What of the range is in this process's page table (PAGEMAP_SCAN, Linux 6.7; unsupported
  // before). About 1.5 ms for 1 GiB in 4 KiB pages.
  Result<std::vector<MappedRun>> scan_pages(std::span<std::byte> range);

  // NUMA. `nodes` are node numbers; `mode` and `flags` as in mbind(2) and move_pages(2).
  Result<void> mbind(void* address, std::size_t bytes, int mode, std::span<const int> nodes,
                     unsigned flags);
  Result<void> set_mempolicy(int mode, std::span<const int> nodes);
  // The node of each page, or a negative errno for a page that is not present (-ENOENT).
  // An empty `to_nodes` asks only; otherwise page i is moved to to_nodes[i].
  Result<std::vector<int>> move_pages(std::span<void* const> pages, std::span<const int> to_nodes,
                                      int flags);
  Result<void> set_affinity(std::span<const int> cpus);  // of the calling thread
  Result<std::vector<int>> get_affinity();
  std::optional<int> current_cpu();  // of the calling thread, at this moment

  // Open-file-description locks on one byte of a file. They belong to the open file, are
  // inherited over fork and die with the last descriptor, so a killed process cannot leak one.
  Result<bool> try_lock_byte(int fd, std::uint64_t offset_bytes, LockKind kind);
  // All bytes of the range at once, or none.
  Result<bool> try_lock_range(int fd, std::uint64_t offset_bytes, std::uint64_t bytes,
                              LockKind kind);
  Result<void> unlock_byte(int fd, std::uint64_t offset_bytes);
  // True where another open file holds a lock in the range that conflicts with `kind`.
  Result<bool> is_range_locked(int fd, std::uint64_t offset_bytes, std::uint64_t bytes,
                               LockKind kind);

  // flock: one lock on all of a file, apart from those above, until the last descriptor of this
  // open file is closed. It needs no more than the right to read.
  Result<bool> try_lock_file(int fd, LockKind kind);
  Result<void> unlock_file(int fd);

  // UNIX sockets: descriptors travel with the bytes (SCM_RIGHTS). None of them waits: not_ready
  // where nobody is there to accept, or where the queue of a listener that accepts nobody is full.
  Result<Fd> listen_unix(const std::string& path, mode_t mode);
  Result<Fd> accept(int fd);
  Result<Fd> connect_unix(const std::string& path);
  Result<int> socket_type(int fd);  // SOCK_STREAM, SOCK_SEQPACKET, …
  Result<PeerCredentials> peer_credentials(int fd);
  // Until there is something to read (also an end or an error), or room to write; signals do not
  // cut it short. False: the deadline passed.
  Result<bool> wait_readable(int fd, Deadline deadline);
  Result<bool> wait_writable(int fd, Deadline deadline);
  // Of several at once: the indices of those that are ready, empty when the deadline passed.
  Result<std::vector<std::size_t>> wait_any_readable(std::span<const int> fds, Deadline deadline);
  // For waking a thread that waits: readable from signal_event() on, until 8 bytes are read.
  Result<Fd> event();
  Result<void> signal_event(int fd);
  // Sends what the socket takes now, at least one byte, and says how many; `fds` ride with the
  // first. Never waits, never raises SIGPIPE. Errors: not_ready where it takes none now.
  Result<std::size_t> send_message(int fd, std::span<const std::byte> bytes,
                                   std::span<const int> fds);
  // What is there now, up to the size of `into`. Never waits. Errors: not_ready where nothing is;
  // corrupt with more than `max_fds` descriptors; exhausted where this process could not take
  // them. Those that came are closed then.
  Result<ReceivedMessage> receive_message(int fd, std::span<std::byte> into, std::size_t max_fds);

  // Processes.
  Result<void> get_random(std::span<std::byte> into);
  void sleep_ns(std::uint64_t duration_ns);  // for polling between tries under a deadline
  // Changes in a forked child.
  pid_t process_id() const;
  // Who this process is. Read once and remembered; read again after a fork.
  const ProcessIdentity& identity();

 protected:
  // Runs before every call. A non-zero errno fails the call, which is then never made.
  virtual int before(const char* call);
  // Where read_file() and list_directory() look for `path`: a test can show another machine.
  virtual std::string text_path(const std::string& path) { return path; }

 private:
  Result<bool> wait_for(int fd, short events, Deadline deadline);

  // The present one, and before it those of processes that were forked up to here. Without a lock,
  // which a child could find taken.
  struct KnownIdentity {
    ProcessIdentity identity;
    KnownIdentity* before;
  };
  std::atomic<KnownIdentity*> identity_{nullptr};
};

// The real kernel.
class RealOs final : public Os {};

}  // namespace strata::inline v0_1
