// What tests of the descriptor exchange share: peers in processes of their own, each with a
// descriptor that can be told from others.
#pragma once

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <functional>
#include <string>

#include "base/check.h"
#include "gpu/descriptor_exchange.h"
#include "os/os.h"
#include "tests/child.h"
#include "tests/temp_dir.h"

namespace strata::inline v0_1::test {

// Long enough for a machine that is busy with something else.
inline Deadline in_two_minutes() { return Deadline::after_ms(120'000); }

inline cuda::SegmentUuid uuid_like(std::uint8_t byte) {
  cuda::SegmentUuid uuid{};
  uuid.fill(byte);
  return uuid;
}

// A file without a name that says `text`.
inline Fd marked(const std::string& text) {
  Fd fd(::memfd_create("marked", MFD_CLOEXEC));
  STRATA_CHECK(::pwrite(fd.get(), text.data(), text.size(), 0) ==
               static_cast<ssize_t>(text.size()));
  return fd;
}

inline std::string mark_of(int fd) {
  char text[64] = {};
  return ::pread(fd, text, sizeof text - 1, 0) < 0 ? "unreadable" : text;
}

inline std::size_t open_files(Os& os) { return os.list_directory("/proc/self/fd").value().size(); }

// A process that says "ready" when `body` has called what it is given, and then stays until it is
// killed or its test ends.
class Peer {
 public:
  using Body = std::function<void(const std::function<void()>& stay)>;
  explicit Peer(const Body& body) {
    int ends[2];
    STRATA_CHECK(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
    ours_.reset(ends[0]);
    Fd theirs(ends[1]);
    pid_ = start_child([&] {
      ours_.reset();
      body([&] {
        STRATA_CHECK(::write(theirs.get(), "r", 1) == 1);
        char end = 0;
        (void)!::read(theirs.get(), &end, 1);
      });
    });
    theirs.reset();
    char ready = 0;
    STRATA_CHECK(::read(ours_.get(), &ready, 1) == 1);
  }
  ~Peer() { kill(); }
  Peer(const Peer&) = delete;
  Peer& operator=(const Peer&) = delete;

  pid_t pid() const { return pid_; }
  void kill() {
    if (pid_ > 0) kill_child(pid_);
    pid_ = 0;
  }
  void stop() { stop_child(pid_); }
  void go_on() { ::kill(pid_, SIGCONT); }
  // The wait status, once it has left of its own accord.
  int leave() {
    ours_.reset();
    const int status = wait_for(pid_);
    pid_ = 0;
    return status;
  }

 private:
  Fd ours_;
  pid_t pid_ = 0;
};

// One that serves a descriptor which says `text`.
inline Peer::Body server_of(const std::string& directory, const cuda::SegmentUuid& uuid,
                            const std::string& text, std::uint64_t generation = 1) {
  return [=](const std::function<void()>& stay) {
    RealOs os;
    cuda::DescriptorServer server(os, directory);
    const auto served =
        server.serve({.uuid = uuid, .generation = generation, .fd = marked(text)}).value();
    stay();
  };
}

}  // namespace strata::inline v0_1::test
