// One map of words and how often they occur, in the heap of a segment: many processes update it,
// each share of the text by one transaction, so that a share counts once or not at all, however
// its worker ends. Where the segment is in a pool, what was counted survives all of them.
//   Threads:  any, of any process; updates under the lock, through transactions.
//   Lifetime: a MapSession must outlive what it points to.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "strata/heap/heap.h"
#include "strata/strata.h"
#include "strata/transaction/transaction_map.h"

namespace demo {

inline constexpr std::size_t kMaxMapShares = 4096;
inline constexpr std::size_t kMaxMapWorkers = 64;
inline constexpr std::size_t kMapShareBytes = 1024;

struct WordMap {
  std::uint64_t words = 0;
  strata::TransactionMap counts;
};

struct MapShare {
  std::uint32_t text;
  std::atomic<std::uint32_t> owner;  // token of the participant that works on it; 0: nobody
  std::uint64_t offset_bytes;
  std::uint64_t bytes;
  std::uint64_t is_done;  // written by the transaction that counts the share
};

struct MapWorker {
  std::atomic<std::uint32_t> pid;
  std::atomic<std::uint32_t> is_paused;  // in the middle of a transaction
  std::atomic<std::uint32_t> shares;
  std::atomic<std::uint32_t> shares_taken_over;
};

struct MapShares {
  std::uint64_t count;
  std::atomic<std::uint32_t> coordinator_pid;  // stored last at its start
  std::uint32_t reserved;
  std::uint64_t done_at_start;  // what the coordinator found
  std::array<MapShare, kMaxMapShares> shares;
  std::array<MapWorker, kMaxMapWorkers> workers;

  std::uint64_t done() const;
};

using WordCounts = std::map<std::string, std::uint64_t, std::less<>>;

// The segment, attached, and what is in it.
struct MapSession {
  std::unique_ptr<strata::Segment> segment;  // never moved: the heap refers to it
  std::unique_ptr<strata::Heap> heap;
  strata::RobustMutex* lock = nullptr;
  WordMap* map = nullptr;
  MapShares* shares = nullptr;
};

// A new segment with an empty map, and with the texts cut into shares.
strata::Result<MapSession> create_map(strata::Catalog& catalog, const std::string& uri,
                                      const strata::CreateOptions& options,
                                      std::span<const std::string_view> texts);
strata::Result<MapSession> open_map(strata::Catalog& catalog, const std::string& uri,
                                    strata::Access access = strata::Access::read_write);

// Adds the words that begin within the part to `counts`: runs of letters, in lower case. A word
// that goes on beyond the part is read to its end: the text is shared.
void count_words(std::string_view text, std::size_t offset_bytes, std::size_t bytes,
                 WordCounts& counts);

// What the map should hold in the end, counted by this process alone.
WordCounts count_shares(std::span<const std::string_view> texts, const MapShares& shares);

// Adds `count` occurrences of `word`, within a transaction that holds the map's lock.
strata::Result<void> add_word(strata::Transaction& tx, WordMap& map, std::string_view word,
                              std::uint64_t count);

// The map as it stands. Errors: corrupt where it is no map.
strata::Result<WordCounts> read_map(const MapSession& session);

}  // namespace demo

template <>
struct strata::TypeTraits<demo::WordMap> {
  static constexpr std::string_view name = "demo.WordMap";
  static constexpr std::uint64_t version = 2;
};

template <>
struct strata::TypeTraits<demo::MapShares> {
  static constexpr std::string_view name = "demo.Shares";
  static constexpr std::uint64_t version = 2;
};
