// One map of words and how often they occur, in the heap of a segment: many processes update it,
// each share of the text by one transaction, so that a share counts once or not at all, however
// its worker ends.
//   Threads:  any, of any process; updates under the lock, through transactions.
//   Lifetime: the Heap must stay open.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>

#include "heap/heap.h"

namespace demo {

inline constexpr std::size_t kMaxMapShares = 4096;
inline constexpr std::size_t kMaxMapWorkers = 64;
inline constexpr std::size_t kMapShareBytes = 1024;
inline constexpr const char* kLockName = "words.lock";
inline constexpr const char* kMapName = "words.map";
inline constexpr const char* kSharesName = "words.shares";

struct WordNode {
  strata::Offset<WordNode> next;
  std::uint64_t count;
  std::uint64_t length_bytes;
  // The letters follow.
};

struct WordMap {
  std::uint64_t words;
  std::uint64_t distinct;
  std::array<strata::Offset<WordNode>, 4096> buckets;
};

struct MapShare {
  std::uint32_t text;
  std::atomic<std::uint32_t> owner;  // token of the participant that works on it; 0: nobody
  std::uint64_t offset_bytes;
  std::uint64_t bytes;
  std::uint64_t is_done;  // written by the transaction that counts the share
};

struct MapWorker {
  std::atomic<std::uint32_t> must_pause;  // in the middle of its next transaction
  std::atomic<std::uint32_t> is_paused;
  std::atomic<std::uint32_t> shares;
  std::atomic<std::uint32_t> shares_taken_over;
};

struct MapShares {
  std::uint64_t count;
  std::array<MapShare, kMaxMapShares> shares;
  std::array<MapWorker, kMaxMapWorkers> workers;

  std::uint64_t done() const;
};

using WordCounts = std::map<std::string, std::uint64_t, std::less<>>;

// Adds the words that begin within the part to `counts`: runs of letters, in lower case. A word
// that goes on beyond the part is read to its end: the text is shared.
void count_words(std::string_view text, std::size_t offset_bytes, std::size_t bytes,
                 WordCounts& counts);

// Adds `count` occurrences of `word`, within a transaction that holds the map's lock.
strata::Result<void> add_word(strata::Transaction& tx, WordMap& map, std::string_view word,
                              std::uint64_t count);

// The map as it stands. Errors: corrupt where it is no map.
strata::Result<WordCounts> read_map(const strata::Heap& heap, const WordMap& map);

}  // namespace demo

template <>
struct strata::TypeTraits<demo::WordMap> {
  static constexpr std::string_view name = "demo.WordMap";
  static constexpr std::uint64_t version = 1;
};

template <>
struct strata::TypeTraits<demo::MapShares> {
  static constexpr std::string_view name = "demo.Shares";
  static constexpr std::uint64_t version = 1;
};
