#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <ctime>

#include "os/os.h"
#include "os/os_internal.h"

namespace strata::inline v0_1 {
namespace {

// Room for more descriptors than a message may carry, and for what else the receiver's own socket
// options add to it (SO_PASSCRED): too many are then counted, and not merely cut off.
constexpr std::size_t kControlBytes = 256;
// A listener that is stopped lets its queue run full, and another process can take what was in it.
constexpr int kSocketType = SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK;
constexpr std::uint64_t kLongestPollNs = 3'600'000'000'000;  // one hour, then it looks again

// Paths, not abstract names: those are scoped to a network namespace.
Result<sockaddr_un> unix_address(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.empty() || path.size() >= sizeof address.sun_path) {
    return fail(Code::invalid_argument, "socket path '" + path + "': must be 1 to " +
                                            std::to_string(sizeof address.sun_path - 1) + " bytes");
  }
  std::memcpy(address.sun_path, path.data(), path.size());
  return address;
}

timespec timespec_of(std::uint64_t ns) {
  return {static_cast<time_t>(ns / 1'000'000'000), static_cast<long>(ns % 1'000'000'000)};
}

// Takes ownership of every descriptor in the message: one that was left would be lost for ever.
std::vector<Fd> take_descriptors(msghdr& message) {
  std::vector<Fd> fds;
  for (cmsghdr* part = CMSG_FIRSTHDR(&message); part; part = CMSG_NXTHDR(&message, part)) {
    if (part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_RIGHTS) continue;
    const std::size_t count = (part->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (std::size_t i = 0; i < count; ++i) {
      int fd = -1;
      std::memcpy(&fd, CMSG_DATA(part) + i * sizeof(int), sizeof(int));
      fds.emplace_back(fd);
    }
  }
  return fds;
}

}  // namespace

Result<Fd> Os::listen_unix(const std::string& path, mode_t mode) {
  STRATA_ASSIGN(const sockaddr_un address, unix_address(path));
  STRATA_OS_CALL(raw, "socket", "socket", ::socket(AF_UNIX, kSocketType, 0));
  Fd fd(raw);
  // Set before bind, so that the path never appears with wider rights.
  STRATA_OS_CALL(chmod_rc, "fchmod", "fchmod socket", ::fchmod(fd.get(), mode));
  STRATA_OS_CALL(bind_rc, "bind", "bind " + path,
                 ::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address));
  STRATA_OS_CALL(listen_rc, "listen", "listen " + path, ::listen(fd.get(), 64));
  return fd;
}

Result<Fd> Os::accept(int fd) {
  STRATA_OS_CALL(peer, "accept", "accept",
                 ::accept4(fd, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
  return Fd(peer);
}

Result<Fd> Os::connect_unix(const std::string& path) {
  STRATA_ASSIGN(const sockaddr_un address, unix_address(path));
  STRATA_OS_CALL(raw, "socket", "socket", ::socket(AF_UNIX, kSocketType, 0));
  Fd fd(raw);
  STRATA_OS_CALL(rc, "connect", "connect " + path,
                 ::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address));
  return fd;
}

Result<bool> Os::wait_for(int fd, short events, Deadline deadline) {
  while (true) {
    if (const int injected = before("poll")) return unexpected(status_from_errno(injected, "poll"));
    pollfd entry{fd, events, 0};
    const timespec left = timespec_of(std::min(deadline.remaining_ns(), kLongestPollNs));
    const int ready = ::ppoll(&entry, 1, &left, nullptr);
    if (ready > 0) return true;
    if (ready < 0 && errno != EINTR) return unexpected(failed_call(errno, "poll"));
    if (deadline.expired()) return false;
  }
}

Result<bool> Os::wait_readable(int fd, Deadline deadline) { return wait_for(fd, POLLIN, deadline); }

Result<bool> Os::wait_writable(int fd, Deadline deadline) {
  return wait_for(fd, POLLOUT, deadline);
}

Result<std::vector<std::size_t>> Os::wait_any_readable(std::span<const int> fds,
                                                       Deadline deadline) {
  std::vector<pollfd> entries;
  entries.reserve(fds.size());
  for (const int fd : fds)
    entries.push_back({fd, POLLIN, 0});
  while (true) {
    if (const int injected = before("poll")) return unexpected(status_from_errno(injected, "poll"));
    const timespec left = timespec_of(std::min(deadline.remaining_ns(), kLongestPollNs));
    const int ready = ::ppoll(entries.data(), entries.size(), &left, nullptr);
    if (ready < 0 && errno != EINTR) return unexpected(failed_call(errno, "poll"));
    std::vector<std::size_t> indices;
    for (std::size_t i = 0; ready > 0 && i < entries.size(); ++i)
      if (entries[i].revents != 0) indices.push_back(i);
    if (ready > 0 || deadline.expired()) return indices;
  }
}

Result<Fd> Os::event() {
  STRATA_OS_CALL(raw, "eventfd", "eventfd", ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  return Fd(raw);
}

Result<void> Os::signal_event(int fd) {
  STRATA_OS_CALL(rc, "signal_event", "signal event", ::eventfd_write(fd, 1));
  return {};
}

Result<int> Os::socket_type(int fd) {
  int type = 0;
  socklen_t bytes = sizeof type;
  STRATA_OS_CALL(rc, "socket_type", "socket type",
                 ::getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &bytes));
  return type;
}

Result<PeerCredentials> Os::peer_credentials(int fd) {
  ucred peer{};
  socklen_t bytes = sizeof peer;
  STRATA_OS_CALL(rc, "peer_credentials", "peer credentials",
                 ::getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &bytes));
  return PeerCredentials{peer.pid, peer.uid, peer.gid};
}

Result<std::size_t> Os::send_message(int fd, std::span<const std::byte> bytes,
                                     std::span<const int> fds) {
  if (fds.size() > kMaxMessageFds)
    return fail(Code::invalid_argument, "send: too many descriptors");
  iovec data{const_cast<std::byte*>(bytes.data()), bytes.size()};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(kMaxMessageFds * sizeof(int))> control{};
  msghdr message{};
  message.msg_iov = &data;
  message.msg_iovlen = 1;
  if (!fds.empty()) {
    message.msg_control = control.data();
    message.msg_controllen = CMSG_SPACE(fds.size_bytes());
    cmsghdr* rights = CMSG_FIRSTHDR(&message);
    rights->cmsg_level = SOL_SOCKET;
    rights->cmsg_type = SCM_RIGHTS;
    rights->cmsg_len = CMSG_LEN(fds.size_bytes());
    std::memcpy(CMSG_DATA(rights), fds.data(), fds.size_bytes());
  }
  STRATA_OS_CALL(sent, "sendmsg", "send", ::sendmsg(fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT));
  return static_cast<std::size_t>(sent);
}

Result<ReceivedMessage> Os::receive_message(int fd, std::span<std::byte> into,
                                            std::size_t max_fds) {
  if (max_fds > kMaxMessageFds) {
    return fail(Code::invalid_argument, "receive: too many descriptors");
  }
  iovec data{into.data(), into.size()};
  alignas(cmsghdr) std::array<char, kControlBytes> control{};
  msghdr message{};
  message.msg_iov = &data;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = control.size();
  STRATA_OS_CALL(bytes, "recvmsg", "receive",
                 ::recvmsg(fd, &message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT));
  ReceivedMessage received{static_cast<std::size_t>(bytes), take_descriptors(message),
                           (message.msg_flags & MSG_TRUNC) != 0};
  if (received.fds.size() > max_fds) {
    return fail(Code::corrupt, "receive: more descriptors than the protocol allows");
  }
  if (message.msg_flags & MSG_CTRUNC) {
    return fail(Code::exhausted,
                "receive: descriptors were lost on the way: this process may have no more open "
                "files (ulimit -n)");
  }
  return received;
}

}  // namespace strata::inline v0_1
