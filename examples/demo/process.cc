#include "examples/demo/process.h"

#include <signal.h>
#include <spawn.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>

namespace demo {

using strata::Result;

Result<Child> Child::start_self(const std::vector<std::string>& arguments) {
  std::vector<char*> argv = {const_cast<char*>("strata-demo")};
  for (const std::string& argument : arguments)
    argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);
  pid_t pid = -1;
  const int error = posix_spawn(&pid, "/proc/self/exe", nullptr, nullptr, argv.data(), environ);
  if (error != 0) return strata::unexpected(strata::status_from_errno(error, "start a process"));
  return Child(pid);
}

Child::~Child() {
  if (pid_ <= 0) return;
  kill();
  waitpid(pid_, nullptr, 0);
}

bool Child::is_running() {
  siginfo_t ended{};
  // Leaves its status for wait().
  return waitid(P_PID, static_cast<id_t>(pid_), &ended, WEXITED | WNOHANG | WNOWAIT) == 0 &&
         ended.si_pid == 0;
}

void Child::kill() { ::kill(pid_, SIGKILL); }

Result<int> Child::wait(strata::Deadline deadline) {
  while (true) {
    int status = 0;
    const pid_t ended = waitpid(pid_, &status, WNOHANG);
    if (ended == pid_) {
      pid_ = -1;
      return status;
    }
    if (ended < 0 && errno != EINTR)
      return strata::unexpected(strata::status_from_errno(errno, "wait for a process"));
    if (deadline.expired()) {
      return strata::fail(strata::Code::timed_out,
                          "process " + std::to_string(pid_) + " does not end");
    }
    usleep(500);
  }
}

void end_with_parent() { prctl(PR_SET_PDEATHSIG, SIGKILL); }

CommandOutput run_command(const std::string& command) {
  CommandOutput output;
  std::FILE* const pipe = popen(command.c_str(), "r");
  if (pipe == nullptr) return output;
  std::array<char, 4096> buffer;
  while (const std::size_t got = std::fread(buffer.data(), 1, buffer.size(), pipe))
    output.text.append(buffer.data(), got);
  const int status = pclose(pipe);
  output.status = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  return output;
}

std::string shell_quoted(const std::string& word) {
  std::string quoted = "'";
  for (const char c : word)
    quoted += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return quoted + "'";
}

}  // namespace demo
