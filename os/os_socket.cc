#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "os/os.h"
#include "os/os_internal.h"

namespace strata {
namespace {

constexpr std::size_t kMaxFds = 8;  // of one message

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

}  // namespace

Result<Fd> Os::listen_unix(const std::string& path, mode_t mode) {
  STRATA_ASSIGN(const sockaddr_un address, unix_address(path));
  STRATA_OS_CALL(raw, "socket", "socket", ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  Fd fd(raw);
  // Set before bind, so that the path never appears with wider rights.
  STRATA_OS_CALL(chmod_rc, "fchmod", "fchmod socket", ::fchmod(fd.get(), mode));
  STRATA_OS_CALL(bind_rc, "bind", "bind " + path,
                 ::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address));
  STRATA_OS_CALL(listen_rc, "listen", "listen " + path, ::listen(fd.get(), 64));
  return fd;
}

Result<Fd> Os::accept(int fd) {
  STRATA_OS_CALL(peer, "accept", "accept", ::accept4(fd, nullptr, nullptr, SOCK_CLOEXEC));
  return Fd(peer);
}

Result<Fd> Os::connect_unix(const std::string& path) {
  STRATA_ASSIGN(const sockaddr_un address, unix_address(path));
  STRATA_OS_CALL(raw, "socket", "socket", ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  Fd fd(raw);
  STRATA_OS_CALL(rc, "connect", "connect " + path,
                 ::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address));
  return fd;
}

Result<bool> Os::wait_readable(int fd, std::uint64_t timeout_ms) {
  pollfd entry{fd, POLLIN, 0};
  const int capped_ms = static_cast<int>(std::min<std::uint64_t>(timeout_ms, 1u << 30));
  STRATA_OS_CALL(ready, "poll", "poll", ::poll(&entry, 1, capped_ms));
  return ready > 0;
}

Result<PeerCredentials> Os::peer_credentials(int fd) {
  ucred peer{};
  socklen_t bytes = sizeof peer;
  STRATA_OS_CALL(rc, "peer_credentials", "peer credentials",
                 ::getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &bytes));
  return PeerCredentials{peer.pid, peer.uid, peer.gid};
}

Result<void> Os::send_message(int fd, std::span<const std::byte> bytes, std::span<const int> fds) {
  if (fds.size() > kMaxFds) return fail(Code::invalid_argument, "send: too many descriptors");
  iovec data{const_cast<std::byte*>(bytes.data()), bytes.size()};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(kMaxFds * sizeof(int))> control{};
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
  STRATA_OS_CALL(sent, "sendmsg", "send", ::sendmsg(fd, &message, MSG_NOSIGNAL));
  if (static_cast<std::size_t>(sent) != bytes.size()) return fail(Code::internal, "short send");
  return {};
}

Result<ReceivedMessage> Os::receive_message(int fd, std::span<std::byte> into,
                                            std::size_t max_fds) {
  if (max_fds > kMaxFds) return fail(Code::invalid_argument, "receive: too many descriptors");
  iovec data{into.data(), into.size()};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(kMaxFds * sizeof(int))> control{};
  msghdr message{};
  message.msg_iov = &data;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = control.size();
  STRATA_OS_CALL(bytes, "recvmsg", "receive",
                 ::recvmsg(fd, &message, MSG_CMSG_CLOEXEC | MSG_WAITALL));
  ReceivedMessage received;
  received.bytes = static_cast<std::size_t>(bytes);
  // Take ownership of every descriptor first: one dropped here would be leaked for ever.
  for (cmsghdr* part = CMSG_FIRSTHDR(&message); part; part = CMSG_NXTHDR(&message, part)) {
    if (part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_RIGHTS) continue;
    const std::size_t count = (part->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (std::size_t i = 0; i < count; ++i) {
      int received_fd = -1;
      std::memcpy(&received_fd, CMSG_DATA(part) + i * sizeof(int), sizeof(int));
      received.fds.emplace_back(received_fd);
    }
  }
  if (received.fds.size() > max_fds || (message.msg_flags & MSG_CTRUNC)) {
    return fail(Code::corrupt, "receive: more descriptors than the protocol allows");
  }
  return received;
}

}  // namespace strata
