#include "tests/gpu/keeper.h"

#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <optional>

#include "base/check.h"
#include "tests/child.h"

namespace strata::inline v0_1::test {
namespace {

// A keeper that its test has left behind ends by itself.
constexpr unsigned kSecondsToLive = 900;
constexpr char kCheck = 'c';
constexpr char kEnd = 'e';

// Each message is one packet; an empty text is one too, so that there is always something to read.
void tell(int socket, const std::string& text) {
  const std::string packet = "." + text.substr(0, 60'000);
  (void)!send(socket, packet.data(), packet.size(), MSG_NOSIGNAL);
}

void serve(int socket, const Keeper::Open& open) {
  auto opened = open();
  tell(socket, opened ? "" : opened.error().to_string());
  if (!opened) return;
  std::optional<Segment> segment(std::move(*opened));
  for (char what = 0; recv(socket, &what, 1, 0) == 1;) {
    if (what == kCheck) {
      tell(socket, difference_from_pattern(*segment));
      continue;
    }
    segment.reset();
    tell(socket, "");
    return;
  }
}

}  // namespace

std::vector<std::byte> pattern(std::size_t count) {
  std::vector<std::byte> bytes(count);
  for (std::size_t i = 0; i < count; ++i)
    bytes[i] = static_cast<std::byte>(i % 251);
  return bytes;
}

std::string difference_from_pattern(const Segment& segment) {
  const auto expected = pattern(segment.payload_bytes());
  std::vector<std::byte> seen(expected.size());
  if (const auto read = segment.read(0, seen); !read) return read.error().to_string();
  const auto [at, other] = std::mismatch(seen.begin(), seen.end(), expected.begin());
  if (at == seen.end()) return {};
  return "byte " + std::to_string(at - seen.begin()) + " of " + std::to_string(seen.size()) +
         " is " + std::to_string(static_cast<int>(*at)) + ", not " +
         std::to_string(static_cast<int>(*other));
}

std::string enter_container() {
  if (unshare(CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWNS) != 0) {
    return std::string("unshare: ") + std::strerror(errno);
  }
  const pid_t child = fork();
  if (child < 0) return std::string("fork: ") + std::strerror(errno);
  if (child > 0) {
    const int status = wait_for(child);
    _exit(WIFEXITED(status) ? WEXITSTATUS(status) : 97);
  }
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  alarm(kSecondsToLive);
  // With the processes of the container alone.
  if (mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
      mount("proc", "/proc", "proc", 0, nullptr) != 0) {
    return std::string("mount: ") + std::strerror(errno);
  }
  return {};
}

Keeper::Keeper(const Open& open, Place place) : place_(place) {
  int ends[2];
  STRATA_CHECK(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, ends) == 0);
  pid_ = start_child([&] {
    close(ends[0]);
    alarm(kSecondsToLive);
    if (place == Place::container) {
      if (const std::string why = enter_container(); !why.empty()) {
        tell(ends[1], why);
        _exit(96);
      }
    }
    serve(ends[1], open);
    close(ends[1]);
    // As a program ends, with all that its destructors and the driver's do.
    std::exit(0);
  });
  close(ends[1]);
  socket_ = ends[0];
  failure_ = ask(0);
}

Keeper::~Keeper() {
  if (pid_ != 0) end();
}

// Asks nothing where `what` is 0: waits for what comes by itself.
std::string Keeper::ask(char what) {
  if (what != 0 && send(socket_, &what, 1, MSG_NOSIGNAL) != 1) return "the process has gone";
  std::string answer(65'536, '\0');
  const ssize_t count = recv(socket_, answer.data(), answer.size(), 0);
  if (count <= 0) return "the process has gone";
  return answer.substr(1, static_cast<std::size_t>(count) - 1);
}

std::string Keeper::check() { return ask(kCheck); }

std::string Keeper::end() {
  std::string answer = failure_.empty() ? ask(kEnd) : std::string();
  const int status = wait_for(pid_);
  if (answer.empty() && status != 0) answer = "it ended with status " + std::to_string(status);
  reap();
  return answer;
}

void Keeper::kill() {
  ::kill(inner_pid(), SIGKILL);
  wait_for(pid_);
  reap();
}

void Keeper::stop() {
  const pid_t pid = inner_pid();
  ::kill(pid, SIGSTOP);
  const std::string file = "/proc/" + std::to_string(pid) + "/stat";
  for (std::string stat; stat.find(") T ") == std::string::npos;) {
    std::getline(std::ifstream(file), stat);
    usleep(1000);
  }
}

void Keeper::go_on() { ::kill(inner_pid(), SIGCONT); }

pid_t Keeper::inner_pid() const {
  if (place_ == Place::here) return pid_;
  const std::string pid = std::to_string(pid_);
  pid_t child = 0;
  std::ifstream("/proc/" + pid + "/task/" + pid + "/children") >> child;
  return child > 0 ? child : pid_;
}

void Keeper::reap() {
  close(socket_);
  pid_ = 0;
}

}  // namespace strata::inline v0_1::test
