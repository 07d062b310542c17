#include "os/run_apart.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstddef>
#include <cstring>

#include "strata/os/fd.h"

namespace strata::inline v0_1 {
namespace {

constexpr std::size_t kMaxAnswerBytes = std::size_t{64} << 20;
constexpr int kCrashSignals[] = {SIGABRT, SIGBUS, SIGFPE, SIGILL, SIGSEGV};

enum class Ending : std::uint32_t { answered, crashed, out_of_processor_time, threw, too_long };

// What the child says last, before its answer.
struct Report {
  Ending ending;
  std::int32_t signal;
  std::uint64_t answer_bytes;
};

bool send_all(int socket, const void* bytes, std::size_t count) {
  const auto* at = static_cast<const char*>(bytes);
  while (count > 0) {
    const ssize_t sent = ::send(socket, at, count, MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR) continue;
    if (sent <= 0) return false;
    at += sent;
    count -= static_cast<std::size_t>(sent);
  }
  return true;
}

// The child's end of the socket, for its signal handler.
int report_socket = -1;

void report_signal(int signal, siginfo_t* info, void*) {
  // Sent by somebody else, it says nothing of what ran here.
  const bool is_own = info->si_code > 0 || info->si_pid == ::getpid();
  if (is_own) {
    const Report report{signal == SIGXCPU ? Ending::out_of_processor_time : Ending::crashed, signal,
                        0};
    (void)send_all(report_socket, &report, sizeof report);
  }
  ::_exit(1);
}

// A crash is expected: it is no case for the program's own handlers, and leaves no core. The stack
// of the handler is its own, as a stack that overflowed cannot carry it.
void report_crashes() {
  static std::array<std::byte, 65536> handler_stack;
  stack_t stack{};
  stack.ss_sp = handler_stack.data();
  stack.ss_size = handler_stack.size();
  (void)::sigaltstack(&stack, nullptr);
  struct sigaction action {};
  action.sa_sigaction = report_signal;
  action.sa_flags = SA_SIGINFO | SA_ONSTACK;
  ::sigfillset(&action.sa_mask);
  sigset_t expected;
  ::sigemptyset(&expected);
  for (const int signal : {SIGABRT, SIGBUS, SIGFPE, SIGILL, SIGSEGV, SIGXCPU}) {
    (void)::sigaction(signal, &action, nullptr);
    ::sigaddset(&expected, signal);
  }
  (void)::sigprocmask(SIG_UNBLOCK, &expected, nullptr);
  const rlimit none{0, 0};
  (void)::setrlimit(RLIMIT_CORE, &none);
}

// Where memory runs out, it is the child that has to go, which may have used it up: it can be asked
// again.
void be_expendable() {
  const Fd fd(::open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC));
  if (fd) (void)!::write(fd.get(), "1000", 4);
}

void limit_processor_time(std::uint64_t seconds) {
  rlimit limit{};
  if (::getrlimit(RLIMIT_CPU, &limit) != 0) return;
  limit.rlim_cur = std::min<rlim_t>(limit.rlim_cur, seconds);
  (void)::setrlimit(RLIMIT_CPU, &limit);
}

// The thread that forked waits for the child: it ends before that only with its process.
bool die_with_parent(pid_t parent) {
  if (::prctl(PR_SET_PDEATHSIG, SIGKILL) != 0) return false;
  const pid_t now = ::getppid();
  return now == parent || now == 0;  // 0: the child is in a namespace of processes of its own
}

[[noreturn]] void run_child(const std::function<std::string()>& body, int socket, pid_t parent,
                            std::uint64_t processor_s) {
  report_socket = socket;
  char go = 0;
  if (!die_with_parent(parent) || ::recv(socket, &go, 1, 0) != 1) ::_exit(1);
  report_crashes();
  be_expendable();
  limit_processor_time(processor_s);
  Report report{Ending::answered, 0, 0};
  std::string answer;
  try {
    answer = body();
  } catch (...) {
    report.ending = Ending::threw;
  }
  // From here on no signal may cut in with a report of its own.
  sigset_t all;
  ::sigfillset(&all);
  (void)::sigprocmask(SIG_SETMASK, &all, nullptr);
  if (answer.size() > kMaxAnswerBytes) {
    report.ending = Ending::too_long;
    answer.clear();
  }
  report.answer_bytes = answer.size();
  const bool is_sent =
      send_all(socket, &report, sizeof report) && send_all(socket, answer.data(), answer.size());
  ::_exit(is_sent ? 0 : 1);
}

bool is_whole(const std::string& heard) {
  Report report;
  if (heard.size() < sizeof report) return false;
  std::memcpy(&report, heard.data(), sizeof report);
  return heard.size() - sizeof report >= report.answer_bytes;
}

// Everything that the child says until its report is whole.
Result<std::string> hear_out(int socket, int pidfd, Deadline deadline) {
  std::string heard;
  while (!is_whole(heard)) {
    pollfd waits[] = {{socket, POLLIN, 0}, {pidfd, POLLIN, 0}};
    const auto wait_ms = std::min<std::uint64_t>(deadline.remaining_ns() / 1'000'000 + 1, 60'000);
    const int ready = ::poll(waits, 2, static_cast<int>(wait_ms));
    if (ready < 0 && errno != EINTR) return unexpected(status_from_errno(errno, "poll"));
    if (ready <= 0) {
      if (!deadline.expired()) continue;
      return fail(Code::timed_out, "the child process took too long, and was ended");
    }
    const bool has_ended = waits[1].revents != 0;  // asked first: then nothing comes any more
    std::array<char, 65536> chunk;
    const ssize_t bytes = ::recv(socket, chunk.data(), chunk.size(), MSG_DONTWAIT);
    if (bytes > 0) {
      heard.append(chunk.data(), static_cast<std::size_t>(bytes));
    } else if (bytes == 0 || has_ended) {
      return fail(Code::failed_precondition,
                  "the child process was killed, or ended, before it had answered");
    }
  }
  return heard;
}

Result<std::string> judge(const std::string& heard) {
  Report report;
  std::memcpy(&report, heard.data(), sizeof report);
  switch (report.ending) {
    case Ending::answered: return heard.substr(sizeof report, report.answer_bytes);
    case Ending::crashed:
      return fail(Code::corrupt,
                  std::string("the child process died: ") + ::strsignal(report.signal));
    case Ending::out_of_processor_time:
      return fail(Code::timed_out, "the child process computed for too long, and was ended");
    case Ending::threw:
      return fail(Code::exhausted, "the child process ended by an exception: out of memory?");
    case Ending::too_long: return fail(Code::exhausted, "the child process answers too much");
  }
  return fail(Code::failed_precondition, "the child process did not say how it ended");
}

Status fork_failure(int sys_errno) {
  if (sys_errno != EAGAIN) return status_from_errno(sys_errno, "start a child process");
  rlimit limit{};
  (void)::getrlimit(RLIMIT_NPROC, &limit);
  const std::string number =
      limit.rlim_cur == RLIM_INFINITY ? "unlimited" : std::to_string(limit.rlim_cur);
  return Status(Code::exhausted,
                "start a child process: no more processes: this user's limit (RLIMIT_NPROC, "
                "ulimit -u) is " +
                    number +
                    ", and a cgroup may have one (pids.max); end some, or "
                    "raise it",
                sys_errno);
}

std::mutex& fork_lock() {
  static std::mutex lock;
  return lock;
}

// In both processes the thread that forks gives the lock back.
pid_t fork_in_turn() {
  const std::lock_guard lock(fork_lock());
  return ::fork();
}

// By the pidfd alone: a program that reaps every child may have freed the number for another.
void end_child(int pidfd) {
  (void)::syscall(SYS_pidfd_send_signal, pidfd, SIGKILL, nullptr, 0);
  siginfo_t info{};
  while (::waitid(static_cast<idtype_t>(P_PIDFD), static_cast<id_t>(pidfd), &info, WEXITED) != 0 &&
         errno == EINTR) {
  }
}

}  // namespace

Result<std::string> run_apart(const std::function<std::string()>& body, Deadline deadline,
                              std::uint64_t processor_s) {
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) {
    return unexpected(status_from_errno(errno, "socketpair"));
  }
  Fd ours(ends[0]);
  Fd theirs(ends[1]);
  const pid_t parent = ::getpid();
  const pid_t child = fork_in_turn();
  if (child < 0) return unexpected(fork_failure(errno));
  if (child == 0) {
    ours.reset();
    run_child(body, theirs.get(), parent, processor_s);
  }
  theirs.reset();
  // The child waits for the word to go, so that its number is still its own here.
  const Fd pidfd(static_cast<int>(::syscall(SYS_pidfd_open, child, 0)));
  if (!pidfd) {
    const int error = errno;
    (void)::shutdown(ours.get(), SHUT_RDWR);  // so that it ends
    (void)::waitpid(child, nullptr, 0);
    return unexpected(status_from_errno(error, "pidfd_open"));
  }
  (void)send_all(ours.get(), "g", 1);
  const auto heard = hear_out(ours.get(), pidfd.get(), deadline);
  end_child(pidfd.get());
  if (!heard) return unexpected(heard.error());
  return judge(*heard);
}

std::unique_lock<std::mutex> hold_back_children() { return std::unique_lock(fork_lock()); }

}  // namespace strata::inline v0_1
