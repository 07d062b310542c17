// A word between a test and its children: one tells, the other waits until it was told.
//   Threads:  one on either side.
//   Lifetime: made before the child is started; both have it.
#pragma once

#include <unistd.h>

#include "base/check.h"

namespace strata::test {

class Pipe {
 public:
  Pipe() { STRATA_CHECK(::pipe2(ends_, 0) == 0); }
  ~Pipe() {
    ::close(ends_[0]);
    ::close(ends_[1]);
  }
  Pipe(const Pipe&) = delete;
  Pipe& operator=(const Pipe&) = delete;

  void tell() { STRATA_CHECK(::write(ends_[1], "x", 1) == 1); }
  void await() {
    char told = 0;
    STRATA_CHECK(::read(ends_[0], &told, 1) == 1);
  }

 private:
  int ends_[2] = {-1, -1};
};

}  // namespace strata::test
