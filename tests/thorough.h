// How much a test looks at. An ordinary run takes a sample of what there is, so that it ends within
// its time; `./check --all` sets STRATA_THOROUGH and takes everything.
#pragma once

#include <cstdint>
#include <cstdlib>

namespace strata::inline v0_1::test {

inline bool is_thorough() { return std::getenv("STRATA_THOROUGH") != nullptr; }

// One of so many cases in an ordinary run; each in a thorough one.
inline std::uint64_t one_in(std::uint64_t cases) { return is_thorough() ? 1 : cases; }

}  // namespace strata::inline v0_1::test
