// Which Strata this is. Before 1.0 every minor version may break the API and the ABI.
#pragma once

#if !defined(__cplusplus) || __cplusplus < 202002L
#error \
    "Strata needs C++20: compile with -std=c++20, or include <strata/c.h>, which needs C99 alone."
#endif

#define STRATA_VERSION_MAJOR 0
#define STRATA_VERSION_MINOR 1
#define STRATA_VERSION_PATCH 0
#define STRATA_VERSION_STRING "0.1.0"

// All of Strata is in an inline namespace of its series, so that a program in which two versions
// meet links what it was compiled with.
namespace strata::inline v0_1 {}
