// STRATA_CHECK aborts on a broken invariant of our own. It is for bugs, never for bad input
// and never for shared bytes, which other processes may have written: those get a Status.
#pragma once

namespace strata::inline v0_1 {

[[noreturn]] void check_failed(const char* file, int line, const char* condition);

}  // namespace strata::inline v0_1

#define STRATA_CHECK(condition) \
  ((condition) ? static_cast<void>(0) : ::strata::check_failed(__FILE__, __LINE__, #condition))
