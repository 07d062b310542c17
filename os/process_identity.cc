#include "strata/os/process_identity.h"

#include <unistd.h>

#include <charconv>
#include <cstdlib>

#include "os/os.h"

namespace strata::inline v0_1 {
namespace {

std::optional<std::uint64_t> start_time_of(Os& os, const std::string& pid) {
  const auto stat = os.read_file("/proc/" + pid + "/stat");
  if (!stat) return std::nullopt;
  // The command name may hold spaces and parentheses: count fields from the last ')'.
  std::size_t at = stat->rfind(')');
  if (at == std::string::npos) return std::nullopt;
  for (int field = 2; field < 22; ++field) {
    at = stat->find(' ', at + 1);
    if (at == std::string::npos) return std::nullopt;
  }
  return std::strtoull(stat->c_str() + at + 1, nullptr, 10);
}

// "01234567-89ab-…" to 16 bytes; zeros where the text is not a uuid.
std::array<std::uint8_t, 16> parse_uuid(const std::string& text) {
  std::array<std::uint8_t, 16> uuid{};
  std::string digits;
  for (char c : text) {
    if (c != '-' && c != '\n') digits += c;
  }
  if (digits.size() != 32) return uuid;
  for (std::size_t i = 0; i < 16; ++i) {
    std::from_chars(digits.data() + 2 * i, digits.data() + 2 * i + 2, uuid[i], 16);
  }
  return uuid;
}

}  // namespace

ProcessIdentity read_identity(Os& os) {
  ProcessIdentity self;
  self.pid = getpid();
  self.uid = geteuid();
  self.start_time_ticks = start_time_of(os, "self").value_or(0);
  if (const auto link = os.read_link("/proc/self/ns/pid")) {
    const std::size_t bracket = link->find('[');  // "pid:[4026531836]"
    if (bracket != std::string::npos) {
      self.pid_namespace = std::strtoull(link->c_str() + bracket + 1, nullptr, 10);
    }
  }
  if (const auto boot = os.read_file("/proc/sys/kernel/random/boot_id")) {
    self.boot_id = parse_uuid(*boot);
  }
  return self;
}

std::optional<std::uint64_t> read_start_time(Os& os, pid_t pid) {
  return start_time_of(os, std::to_string(pid));
}

std::string read_command_name(Os& os, pid_t pid) {
  auto name = os.read_file("/proc/" + std::to_string(pid) + "/comm");
  if (!name) return "?";
  while (!name->empty() && name->back() == '\n')
    name->pop_back();
  return *name;
}

}  // namespace strata::inline v0_1
