// What the golden heaps hold. make_golden_heap.cc makes them, heap_contents_golden_test.cc reads
// them, in the segment of heap_segment_v2.bin and in those of pool_v1.pool.
#pragma once

#include <cstdint>
#include <string_view>

#include "strata/heap/heap.h"
#include "strata/transaction/transaction_map.h"

namespace strata::inline v0_1::golden {

// "the answer". Beside it and the "ledger" there is "a lock", a free RobustMutex.
struct Answer {
  std::uint64_t value;  // 42
};

inline constexpr std::uint64_t kCellsOfPage = 512;
inline constexpr std::uint64_t kCells = 4 * kCellsOfPage;
inline constexpr std::uint64_t kKeys = 40;  // "key 0" to "key 39", each the square of its number
inline constexpr std::uint64_t kErasedKey = 7;  // was there
inline constexpr std::uint64_t kFreshBytes = 100;

// Before the two transactions below cells[i] is 1000 + i, `old` a block and `fresh` nothing.
struct Ledger {
  // Whoever held it died after the commit, with a part applied. Its transaction made cells[0] 111
  // and cells[512] 222, put "committed" into the map as 5, freed `old` and made `fresh`, a block
  // of kFreshBytes times 'n'.
  RobustMutex committed;
  // Whoever held it died before the commit, with cells[1024] changed in place, cells[1536] written
  // to and a block allocated: nothing of it may be left.
  RobustMutex begun;
  TransactionMap map;
  Offset<std::uint64_t> cells;  // on a page of its own
  Offset<std::byte> old;
  Offset<std::byte> fresh;
};
static_assert(sizeof(Ledger) == 184);

}  // namespace strata::inline v0_1::golden

template <>
struct strata::TypeTraits<strata::golden::Answer> {
  static constexpr std::string_view name = "golden::Answer";
  static constexpr std::uint64_t version = 3;
};

template <>
struct strata::TypeTraits<strata::golden::Ledger> {
  static constexpr std::string_view name = "golden::Ledger";
  static constexpr std::uint64_t version = 1;
};
