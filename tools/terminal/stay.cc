#include "tools/terminal/stay.h"

#include <cstdio>
#include <initializer_list>

namespace strata::inline v0_1::tools {

Stay::Stay(Lifetime lifetime)
    : is_needed_(lifetime == Lifetime::process || lifetime == Lifetime::last_detach) {
  sigemptyset(&signals_);
  for (const int signal : {SIGINT, SIGTERM, SIGHUP})
    sigaddset(&signals_, signal);
  if (is_needed_) pthread_sigmask(SIG_BLOCK, &signals_, &before_);
}

Stay::~Stay() {
  if (is_needed_) pthread_sigmask(SIG_SETMASK, &before_, nullptr);
}

void Stay::until_interrupted(Output& output) {
  if (!is_needed_) return;
  output.note("it ends with this process: Ctrl-C to let go");
  std::fflush(stdout);
  int received = 0;
  sigwait(&signals_, &received);
}

}  // namespace strata::inline v0_1::tools
