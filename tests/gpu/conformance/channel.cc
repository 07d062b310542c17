#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>

#include "tests/gpu/conformance/machine.h"

namespace strata::inline v0_1::conformance {
namespace {

constexpr int kPatienceMs = 60'000;

union Control {
  char bytes[CMSG_SPACE(sizeof(int))];
  cmsghdr alignment;
};

}  // namespace

void Channel::send_bytes(const void* bytes, std::size_t size, int fd) {
  iovec part{const_cast<void*>(bytes), size};
  Control control{};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  if (fd >= 0) {
    message.msg_control = &control;
    message.msg_controllen = sizeof control.bytes;
    cmsghdr* const header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof fd);
    std::memcpy(CMSG_DATA(header), &fd, sizeof fd);
  }
  if (::sendmsg(socket_, &message, MSG_NOSIGNAL) != static_cast<ssize_t>(size)) {
    give_up("the other process is gone");
  }
}

int Channel::receive_bytes(void* bytes, std::size_t size) {
  pollfd readable{socket_, POLLIN, 0};
  if (::poll(&readable, 1, kPatienceMs) != 1) give_up("the other process does not answer");
  iovec part{bytes, size};
  Control control{};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = &control;
  message.msg_controllen = sizeof control.bytes;
  if (::recvmsg(socket_, &message, MSG_CMSG_CLOEXEC) != static_cast<ssize_t>(size)) {
    give_up("the other process could not do its part");
  }
  int fd = -1;
  const cmsghdr* const header = CMSG_FIRSTHDR(&message);
  if (header && header->cmsg_type == SCM_RIGHTS) std::memcpy(&fd, CMSG_DATA(header), sizeof fd);
  return fd;
}

void Channel::kill_other() {
  ::kill(other_, SIGKILL);
  wait_for_other();
}

void Channel::wait_for_other() { ::waitpid(other_, nullptr, 0); }

void Channel::stay() {
  char none = 0;
  while (::recv(socket_, &none, 1, 0) > 0) {
  }
  ::_exit(0);
}

}  // namespace strata::inline v0_1::conformance
