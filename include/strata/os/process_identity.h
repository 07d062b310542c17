// Who a process is, beyond its pid: pids are reused, and mean nothing in another pid namespace
// or after a reboot. These facts are for messages and evidence; liveness is a kernel file lock.
#pragma once

#include <sys/types.h>

#include <array>
#include <cstdint>
#include <optional>
#include <string>

namespace strata::inline v0_1 {
class Os;  // hidden: declared outside of the pragma
}

#pragma GCC visibility push(default)
namespace strata::inline v0_1 {

struct ProcessIdentity {
  pid_t pid = 0;
  uid_t uid = 0;
  std::uint64_t start_time_ticks = 0;  // since boot, field 22 of /proc/PID/stat
  std::uint64_t pid_namespace = 0;     // inode of /proc/self/ns/pid
  std::array<std::uint8_t, 16> boot_id{};
};

ProcessIdentity read_identity(Os& os);

// Start time of a process of this pid namespace; nothing where there is no such process.
std::optional<std::uint64_t> read_start_time(Os& os, pid_t pid);

// "/proc/PID/comm", or "?" where it cannot be read.
std::string read_command_name(Os& os, pid_t pid);

}  // namespace strata::inline v0_1
#pragma GCC visibility pop
