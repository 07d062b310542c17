#include "os/user_state.h"

#include <pwd.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <array>
#include <cstdlib>

namespace strata::inline v0_1 {
namespace {

// The specification has relative paths ignored.
std::string absolute_path_in(const char* variable) {
  const char* const value = std::getenv(variable);
  return value != nullptr && value[0] == '/' ? value : "";
}

std::string home_in_user_database() {
  std::array<char, 16384> buffer;
  struct passwd entry {};
  struct passwd* found = nullptr;
  if (getpwuid_r(geteuid(), &entry, buffer.data(), buffer.size(), &found) != 0 ||
      found == nullptr || found->pw_dir == nullptr || found->pw_dir[0] != '/') {
    return "";
  }
  return found->pw_dir;
}

}  // namespace

std::string state_home() {
  if (std::string state = absolute_path_in("XDG_STATE_HOME"); !state.empty()) return state;
  std::string home = absolute_path_in("HOME");
  if (home.empty()) home = home_in_user_database();
  return home.empty() ? "" : home + "/.local/state";
}

std::string host_name() {
  struct utsname names {};
  return uname(&names) == 0 ? names.nodename : "";
}

}  // namespace strata::inline v0_1
