#include "os/run_apart.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstring>

#include "os/fd.h"

namespace strata {
namespace {

constexpr std::size_t kMaxAnswerBytes = 65536;

// A crash is expected: it is no case for the program's own handlers, and leaves no core.
void expect_a_crash() {
  for (const int signal : {SIGABRT, SIGBUS, SIGFPE, SIGILL, SIGSEGV})
    std::signal(signal, SIG_DFL);
  const rlimit none{0, 0};
  (void)::setrlimit(RLIMIT_CORE, &none);
}

[[noreturn]] void run_child(const std::function<std::string()>& body, int write_fd) {
  expect_a_crash();
  const std::string answer = body();
  std::size_t done = 0;
  while (done < answer.size()) {
    const ssize_t bytes = ::write(write_fd, answer.data() + done, answer.size() - done);
    if (bytes <= 0) ::_exit(1);
    done += static_cast<std::size_t>(bytes);
  }
  ::_exit(0);
}

}  // namespace

Result<std::string> run_apart(const std::function<std::string()>& body, Deadline deadline) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return unexpected(status_from_errno(errno, "pipe"));
  const Fd reader(ends[0]);
  Fd writer(ends[1]);
  const pid_t child = ::fork();
  if (child < 0) return unexpected(status_from_errno(errno, "fork"));
  if (child == 0) run_child(body, writer.get());
  writer.reset();
  std::string answer;
  bool is_late = false;
  while (answer.size() < kMaxAnswerBytes) {
    pollfd wait{reader.get(), POLLIN, 0};
    const int ready = ::poll(&wait, 1, static_cast<int>(deadline.remaining_ns() / 1'000'000 + 1));
    if (ready < 0 && errno == EINTR) continue;
    if (ready <= 0) {
      is_late = true;
      break;
    }
    char chunk[4096];
    const ssize_t bytes = ::read(reader.get(), chunk, sizeof chunk);
    if (bytes <= 0) break;  // the child has closed its end
    answer.append(chunk, static_cast<std::size_t>(bytes));
  }
  if (is_late) ::kill(child, SIGKILL);
  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  if (is_late) return fail(Code::timed_out, "the child process took too long");
  if (WIFSIGNALED(status)) {
    return fail(WTERMSIG(status) == SIGKILL ? Code::failed_precondition : Code::corrupt,
                std::string("the child process died: ") + ::strsignal(WTERMSIG(status)));
  }
  return answer;
}

}  // namespace strata
