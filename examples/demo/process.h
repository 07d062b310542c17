// Child processes of the demo: programs started anew, so that they share nothing but names.
//   Threads:  one.
//   Lifetime: children that still run when a Child ends are killed and reaped.
//   Errors:   internal where the kernel starts no more processes.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>
#include <vector>

#include "strata/base/result.h"
#include "strata/os/deadline.h"

namespace demo {

class Child {
 public:
  // Runs this same program with these arguments.
  static strata::Result<Child> start_self(const std::vector<std::string>& arguments);
  Child(Child&& other) noexcept : pid_(std::exchange(other.pid_, -1)) {}
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;
  ~Child();

  pid_t pid() const { return pid_; }
  bool is_running();
  void kill();
  // The wait status of waitpid(2). Errors: timed_out.
  strata::Result<int> wait(strata::Deadline deadline);

 private:
  explicit Child(pid_t pid) : pid_(pid) {}
  pid_t pid_;
};

// From now on this process is killed when its parent ends, however that ends. A parent that has
// ended before is for the caller to find out.
void end_with_parent();

// What a shell command prints; its exit status is in `status`.
struct CommandOutput {
  std::string text;
  int status = -1;
};
CommandOutput run_command(const std::string& command);
std::string shell_quoted(const std::string& word);

}  // namespace demo
