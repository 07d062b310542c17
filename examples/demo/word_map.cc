#include "examples/demo/word_map.h"

#include <algorithm>

namespace demo {
namespace {

using strata::Heap;
using strata::Result;
using strata::Segment;

constexpr const char* kLockName = "words.lock";
constexpr const char* kMapName = "words.map";
constexpr const char* kSharesName = "words.shares";

bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

// Cuts the texts into shares, as many as there is room for.
void cut(std::span<const std::string_view> texts, MapShares& shares) {
  for (std::size_t i = 0; i < texts.size(); ++i) {
    for (std::size_t from = 0; from < texts[i].size(); from += kMapShareBytes) {
      if (shares.count == kMaxMapShares) return;
      MapShare& share = shares.shares[shares.count++];
      share.text = static_cast<std::uint32_t>(i);
      share.offset_bytes = from;
      share.bytes = std::min(kMapShareBytes, texts[i].size() - from);
    }
  }
}

}  // namespace

std::uint64_t MapShares::done() const {
  std::uint64_t sum = 0;
  for (std::uint64_t i = 0; i < count && i < kMaxMapShares; ++i) {
    // Another process may be committing it at this moment.
    auto& word = const_cast<std::uint64_t&>(shares[i].is_done);
    sum += std::atomic_ref<std::uint64_t>(word).load(std::memory_order_acquire);
  }
  return sum;
}

Result<MapSession> create_map(strata::Catalog& catalog, const std::string& uri,
                              const strata::CreateOptions& options,
                              std::span<const std::string_view> texts) {
  MapSession session;
  STRATA_ASSIGN(Segment segment, catalog.create(uri, options));
  session.segment = std::make_unique<Segment>(std::move(segment));
  STRATA_ASSIGN(Heap heap, Heap::create(*session.segment));
  session.heap = std::make_unique<Heap>(std::move(heap));
  STRATA_ASSIGN(session.lock, session.heap->make<strata::RobustMutex>(kLockName));
  STRATA_ASSIGN(session.map, session.heap->make<WordMap>(kMapName));
  STRATA_ASSIGN(session.shares, session.heap->make<MapShares>(kSharesName));
  session.lock->count_contention();
  cut(texts, *session.shares);
  // Plain stores, so they have to be made durable; from now on transactions change what must last.
  STRATA_TRY(session.segment->durability().persist(session.shares, sizeof(MapShares)));
  return session;
}

Result<MapSession> open_map(strata::Catalog& catalog, const std::string& uri,
                            strata::Access access) {
  MapSession session;
  STRATA_ASSIGN(Segment segment, catalog.attach(uri, {.access = access}));
  session.segment = std::make_unique<Segment>(std::move(segment));
  STRATA_ASSIGN(Heap heap, Heap::open(*session.segment));
  session.heap = std::make_unique<Heap>(std::move(heap));
  STRATA_ASSIGN(session.lock, session.heap->find<strata::RobustMutex>(kLockName));
  STRATA_ASSIGN(session.map, session.heap->find<WordMap>(kMapName));
  STRATA_ASSIGN(session.shares, session.heap->find<MapShares>(kSharesName));
  return session;
}

void count_words(std::string_view text, std::size_t offset_bytes, std::size_t bytes,
                 WordCounts& counts) {
  std::string word;
  for (std::size_t i = offset_bytes; i < offset_bytes + bytes; ++i) {
    if (!is_letter(text[i]) || (i > 0 && is_letter(text[i - 1]))) continue;
    word.clear();
    for (std::size_t at = i; at < text.size() && is_letter(text[at]); ++at)
      word += lower(text[at]);
    ++counts[word];
  }
}

WordCounts count_shares(std::span<const std::string_view> texts, const MapShares& shares) {
  WordCounts counts;
  for (std::uint64_t i = 0; i < shares.count && i < kMaxMapShares; ++i) {
    const MapShare& share = shares.shares[i];
    if (share.text < texts.size())
      count_words(texts[share.text], share.offset_bytes, share.bytes, counts);
  }
  return counts;
}

Result<void> add_word(strata::Transaction& tx, WordMap& map, std::string_view word,
                      std::uint64_t count) {
  STRATA_TRY(tx.write(map.words, tx.read(map.words) + count));
  STRATA_TRY(map.counts.add(tx, word, count));
  return {};
}

Result<WordCounts> read_map(const MapSession& session) {
  WordCounts counts;
  STRATA_TRY(session.heap->transact(*session.lock, [&](strata::Transaction& tx) {
    return session.map->counts.for_each(tx, [&](std::string_view word, std::uint64_t count) {
      counts.emplace(std::string(word), count);
    });
  }));
  return counts;
}

}  // namespace demo
