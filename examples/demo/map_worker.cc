#include "examples/demo/map_worker.h"

#include <unistd.h>

#include "examples/demo/corpus.h"
#include "examples/demo/process.h"
#include "examples/demo/word_map.h"
#include "os/os.h"
#include "segment/lease.h"

namespace demo {
namespace {

using strata::Result;

constexpr std::uint64_t kTimeoutMs = 120'000;
constexpr std::uint64_t kIdleNs = 1'000'000;
constexpr std::uint64_t kPauseNs = 20'000'000'000;  // who pauses is killed long before

// As in part one: a share that nobody has, else one of a dead owner.
Result<MapShare*> take(MapShares& all, const strata::Participant& self, MapWorker& record) {
  const std::span<MapShare> shares(all.shares.data(), std::min(all.count, kMaxMapShares));
  for (MapShare& share : shares) {
    std::uint32_t nobody = 0;
    if (share.owner.compare_exchange_strong(nobody, self.token())) return &share;
  }
  for (MapShare& share : shares) {
    std::uint32_t owner = share.owner.load();
    const bool is_done = std::atomic_ref<std::uint64_t>(share.is_done).load() != 0;
    if (is_done || owner == self.token()) continue;
    STRATA_ASSIGN(const bool is_alive, self.is_alive(owner));
    if (is_alive || !share.owner.compare_exchange_strong(owner, self.token())) continue;
    record.shares_taken_over.fetch_add(1);
    return &share;
  }
  return nullptr;
}

// Counts a share. `in_the_middle` is called when half of its words are added.
template <typename Function>
Result<void> add_share(strata::Transaction& tx, WordMap& map, MapShare& share,
                       const WordCounts& counts, Function&& in_the_middle) {
  // Its former owner may have got through in its last moment: the lock has shown by now.
  if (tx.read(share.is_done) != 0) return {};
  std::size_t added = 0;
  for (const auto& [word, count] : counts) {
    STRATA_TRY(add_word(tx, map, word, count));
    if (++added == (counts.size() + 1) / 2) in_the_middle();
  }
  return tx.write(share.is_done, 1);
}

}  // namespace

Result<void> run_map_worker(strata::Catalog& catalog, strata::Os& os,
                            const MapWorkerOptions& options) {
  end_with_parent();
  STRATA_ASSIGN(const strata::Segment corpus,
                catalog.attach(options.corpus_uri, {.access = strata::Access::read_only}));
  STRATA_ASSIGN(const std::vector<std::string_view> texts, texts_of(corpus));
  STRATA_ASSIGN(const MapSession session, open_map(catalog, options.map_uri));
  STRATA_ASSIGN(const strata::Participant* const self, session.segment->participant());
  MapShares& shares = *session.shares;
  if (shares.coordinator_pid.load() != static_cast<std::uint32_t>(getppid()))
    return strata::fail(strata::Code::failed_precondition, "the coordinator has ended");
  MapWorker& record = shares.workers[options.index];
  record.pid.store(static_cast<std::uint32_t>(getpid()));
  // One after the other: who is to be killed first must not wait for the lock of the next.
  const auto is_my_turn = [&] {
    return options.index == 0 || shares.workers[options.index - 1].is_paused.load() != 0;
  };
  const auto pause_if_told = [&] {
    if (record.is_paused.load() != 0 || shares.done() < options.pause_at || !is_my_turn()) return;
    record.is_paused.store(1);
    os.sleep_ns(kPauseNs);
  };

  const strata::Deadline deadline = strata::Deadline::after_ms(kTimeoutMs);
  while (shares.done() < shares.count) {
    if (deadline.expired()) return strata::fail(strata::Code::timed_out, "shares are left over");
    STRATA_ASSIGN(MapShare* const share, take(shares, *self, record));
    os.sleep_ns(kIdleNs);
    if (share == nullptr) continue;
    if (share->text >= texts.size()) return strata::fail(strata::Code::corrupt, "no such text");
    WordCounts counts;
    count_words(texts[share->text], share->offset_bytes, share->bytes, counts);
    STRATA_TRY(session.heap->transact(*session.lock, [&](strata::Transaction& tx) {
      return add_share(tx, *session.map, *share, counts, pause_if_told);
    }));
    record.shares.fetch_add(1);
  }
  return {};
}

}  // namespace demo
