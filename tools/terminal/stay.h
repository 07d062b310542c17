// A command that has made what ends with its users stays, as one of them, until it is told to go:
// by Ctrl-C, by kill, or by its terminal.
//   Threads:  one; made before the segment is, so that no thread of a driver takes the signals, and
//             destroyed after it.
//   Errors:   none.
#pragma once

#include <signal.h>

#include "strata/segment/options.h"
#include "tools/terminal/output.h"

namespace strata::inline v0_1::tools {

class Stay {
 public:
  // Keeps SIGINT, SIGTERM and SIGHUP back while it lives, if there is something to stay for.
  explicit Stay(Lifetime lifetime);
  ~Stay();
  Stay(const Stay&) = delete;
  Stay& operator=(const Stay&) = delete;

  bool is_needed() const { return is_needed_; }
  // Says so and waits; returns at once where it is not needed.
  void until_interrupted(Output& output);

 private:
  bool is_needed_;
  sigset_t signals_;
  sigset_t before_;
};

}  // namespace strata::inline v0_1::tools
