#include "os/detached_process.h"

#include <fcntl.h>
#include <linux/close_range.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>

#include "strata/os/fd.h"

namespace strata::inline v0_1 {
namespace {

constexpr std::size_t kMaxLineBytes = 4096;
constexpr std::size_t kMaxErrorBytes = 4096;

// What the program gets as its standard input, output and error.
struct StandardFiles {
  Fd input, output, error;
  Fd heard;  // our end of its output
};

Result<StandardFiles> make_standard_files() {
  StandardFiles files;
  files.input.reset(::open("/dev/null", O_RDWR | O_CLOEXEC));
  int ends[2];
  if (!files.input || ::pipe2(ends, O_CLOEXEC) != 0)
    return unexpected(status_from_errno(errno, "start a process"));
  files.heard.reset(ends[0]);
  files.output.reset(ends[1]);
  // A file and not a pipe: it takes what is written when nobody listens any more.
  files.error.reset(::memfd_create("errors", MFD_CLOEXEC));
  if (!files.error) return unexpected(status_from_errno(errno, "start a process"));
  return files;
}

// What follows runs between fork and exec, where only calls are safe that take no lock.

void begin_anew() {
  for (int signal = 1; signal < NSIG; ++signal)
    (void)::signal(signal, SIG_DFL);
  (void)::signal(SIGHUP, SIG_IGN);
  sigset_t none;
  ::sigemptyset(&none);
  (void)::sigprocmask(SIG_SETMASK, &none, nullptr);
}

void say(int fd, const char* text) { (void)!::write(fd, text, std::strlen(text)); }

[[noreturn]] void become(char* const* arguments, const StandardFiles& files) {
  begin_anew();
  // Above the standard ones first, so that none is overwritten before it is copied.
  const int input = ::fcntl(files.input.get(), F_DUPFD, 3);
  const int output = ::fcntl(files.output.get(), F_DUPFD, 3);
  const int error = ::fcntl(files.error.get(), F_DUPFD, 3);
  const bool are_set = ::dup2(input, 0) == 0 && ::dup2(output, 1) == 1 && ::dup2(error, 2) == 2;
  if (!are_set) ::_exit(127);
  // Linux before 5.9 has no such call: what is left open there is what had no close-on-exec.
  (void)::syscall(SYS_close_range, 3U, ~0U, 0U);
  ::execvp(arguments[0], arguments);
  const int failure = errno;
  say(2, arguments[0]);
  say(2, failure == ENOENT ? ": no such program" : ": it cannot be started");
  ::_exit(127);
}

[[noreturn]] void fork_again(char* const* arguments, const StandardFiles& files) {
  (void)::setsid();
  // The leader of a session can get a terminal again; its child cannot.
  const pid_t program = ::fork();
  if (program == 0) become(arguments, files);
  if (program < 0) say(files.error.get(), "no more processes");
  ::_exit(0);
}

std::string what_it_wrote(int fd) {
  std::string text(kMaxErrorBytes, '\0');
  const ssize_t bytes = ::pread(fd, text.data(), text.size(), 0);
  text.resize(bytes > 0 ? static_cast<std::size_t>(bytes) : 0);
  while (!text.empty() && text.back() == '\n')
    text.pop_back();
  return text.empty() ? "it ended without a word" : text;
}

Result<std::string> hear_first_line(const StandardFiles& files, Deadline deadline) {
  std::string line;
  while (true) {
    pollfd wait{files.heard.get(), POLLIN, 0};
    const auto wait_ms = std::min<std::uint64_t>(deadline.remaining_ns() / 1'000'000 + 1, 60'000);
    const int ready = ::poll(&wait, 1, static_cast<int>(wait_ms));
    if (ready < 0 && errno != EINTR) return unexpected(status_from_errno(errno, "poll"));
    if (ready <= 0) {
      if (!deadline.expired()) continue;
      return fail(Code::timed_out, "it did not say in time that it is ready");
    }
    std::array<char, 512> chunk;
    const ssize_t bytes = ::read(files.heard.get(), chunk.data(), chunk.size());
    if (bytes < 0 && errno == EINTR) continue;
    if (bytes <= 0) return fail(Code::failed_precondition, what_it_wrote(files.error.get()));
    line.append(chunk.data(), static_cast<std::size_t>(bytes));
    const std::size_t end = line.find('\n');
    if (end != std::string::npos) return line.substr(0, end);
    if (line.size() > kMaxLineBytes)
      return fail(Code::failed_precondition, "its first line has no end");
  }
}

}  // namespace

Result<std::string> start_detached(const std::vector<std::string>& command, Deadline deadline) {
  if (command.empty()) return fail(Code::invalid_argument, "start a process: no command");
  std::vector<char*> arguments;
  for (const std::string& word : command)
    arguments.push_back(const_cast<char*>(word.c_str()));
  arguments.push_back(nullptr);
  STRATA_ASSIGN(StandardFiles files, make_standard_files());
  const pid_t between = ::fork();
  if (between < 0) return unexpected(status_from_errno(errno, "start " + command.front()));
  if (between == 0) fork_again(arguments.data(), files);
  // A program that reaps all its children may have done so already.
  while (::waitpid(between, nullptr, 0) < 0 && errno == EINTR) {
  }
  files.output.reset();
  auto line = hear_first_line(files, deadline);
  if (!line) return unexpected(line.error().in(command.front()));
  return line;
}

}  // namespace strata::inline v0_1
