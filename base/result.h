// Result<T> is a T, or the Status that says why there is none (tl::expected underneath).
//
//     Result<Fd> fd = os.open(path, {.read_only = true});
//     if (!fd) return unexpected(fd.error().in("read header"));
//
// STRATA_TRY returns early on failure; STRATA_ASSIGN also binds the value:
//
//     STRATA_TRY(os.ftruncate(fd, bytes));
//     STRATA_ASSIGN(auto stat, os.fstat(fd));
#pragma once

#include <string>
#include <tl/expected.hpp>
#include <utility>

#include "base/status.h"

namespace strata {

template <typename T>
using Result = tl::expected<T, Status>;

using Unexpected = tl::unexpected<Status>;

inline Unexpected unexpected(Status status) { return Unexpected(std::move(status)); }

inline Unexpected fail(Code code, std::string message) {
  return Unexpected(Status(code, std::move(message)));
}

}  // namespace strata

#define STRATA_CONCAT_INNER(a, b) a##b
#define STRATA_CONCAT(a, b) STRATA_CONCAT_INNER(a, b)

#define STRATA_TRY(expression)                                    \
  do {                                                            \
    if (auto strata_try = (expression); !strata_try)              \
      return ::strata::unexpected(std::move(strata_try).error()); \
  } while (false)

#define STRATA_ASSIGN(declaration, expression) \
  STRATA_ASSIGN_INNER(STRATA_CONCAT(strata_result_, __LINE__), declaration, expression)

#define STRATA_ASSIGN_INNER(result, declaration, expression)           \
  auto result = (expression);                                          \
  if (!result) return ::strata::unexpected(std::move(result).error()); \
  declaration = std::move(*result)
