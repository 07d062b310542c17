// Shared by os_*.cc: one place that turns a call's return into a Result.
#pragma once

#include <cerrno>
#include <string>
#include <string_view>

#include "os/file_size_limit.h"
#include "strata/base/result.h"

namespace strata::inline v0_1 {

inline Status failed_call(int sys_errno, std::string_view what) {
  const Status status = status_from_errno(sys_errno, what);
  return Status(status.code(), status.message() + file_size_limit_hint(sys_errno), sys_errno);
}

}  // namespace strata::inline v0_1

// Asks the fault seam first, then makes the call; fails with its errno under `what`.
#define STRATA_OS_CALL(result, name, what, expression)                        \
  if (const int injected = before(name)) {                                    \
    return ::strata::unexpected(::strata::status_from_errno(injected, what)); \
  }                                                                           \
  const auto result = (expression);                                           \
  if (result < 0) return ::strata::unexpected(::strata::failed_call(errno, what))
