// Where this user, on this machine, keeps what is to survive a restart and is no configuration.
//   Threads:  any, while nobody changes the environment.
//   Errors:   none; what cannot be found out is empty.
//   Cost:     one system call; state_home() looks into the user database where HOME is not set.
#pragma once

#include <string>

namespace strata::inline v0_1 {

// $XDG_STATE_HOME, or else .local/state in the user's home (XDG Base Directory Specification 0.8).
// It need not exist, and under sudo it may be another user's: who uses it looks at its owner.
std::string state_home();

// The name by which this machine differs from others that share a home directory with it.
std::string host_name();

}  // namespace strata::inline v0_1
