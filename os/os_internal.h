// Shared by os_*.cc: one place that turns a call's return into a Result.
#pragma once

#include <cerrno>
#include <string>
#include <string_view>

#include "base/result.h"

// Asks the fault seam first, then makes the call; fails with its errno under `what`.
#define STRATA_OS_CALL(result, name, what, expression)                        \
  if (const int injected = before(name)) {                                    \
    return ::strata::unexpected(::strata::status_from_errno(injected, what)); \
  }                                                                           \
  const auto result = (expression);                                           \
  if (result < 0) return ::strata::unexpected(::strata::status_from_errno(errno, what))
