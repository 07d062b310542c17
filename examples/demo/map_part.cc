#include "examples/demo/map_part.h"

#include <fmt/format.h>
#include <sys/wait.h>

#include <algorithm>
#include <vector>

#include "examples/demo/corpus.h"
#include "examples/demo/process.h"
#include "examples/demo/word_map.h"

namespace demo {
namespace {

using strata::Code;
using strata::Deadline;
using strata::Heap;
using strata::MiB;
using strata::Result;

constexpr std::uint64_t kTimeoutMs = 120'000;
constexpr std::size_t kTopWords = 5;

// Cuts the texts into shares, as many as there is room for; what is counted of each text goes
// into the reference as well.
void cut(const std::vector<std::string_view>& texts, MapShares& shares, WordCounts& reference) {
  for (std::size_t i = 0; i < texts.size(); ++i) {
    for (std::size_t from = 0; from < texts[i].size(); from += kMapShareBytes) {
      if (shares.count == kMaxMapShares) return;
      MapShare& share = shares.shares[shares.count++];
      share.text = static_cast<std::uint32_t>(i);
      share.offset_bytes = from;
      share.bytes = std::min(kMapShareBytes, texts[i].size() - from);
      count_words(texts[i], from, share.bytes, reference);
    }
  }
}

// Tells a worker to pause in its next transaction, waits until it does, and kills it there.
Result<void> kill_inside(Story& story, strata::Os& os, MapShares& shares, strata::RobustMutex& lock,
                         Child& victim, std::size_t index, std::uint64_t when_done) {
  const Deadline deadline = Deadline::after_ms(kTimeoutMs);
  const auto wait_for = [&](auto&& condition) {
    while (!condition() && shares.done() < shares.count && !deadline.expired())
      os.sleep_ns(200'000);
    return condition();
  };
  if (!wait_for([&] { return shares.done() >= when_done; }))
    return strata::fail(Code::timed_out, "the workers do not get on");
  MapWorker& worker = shares.workers[index];
  worker.must_pause.store(1);
  if (!wait_for([&] { return worker.is_paused.load() != 0; })) {
    story.say(fmt::format("worker {} found nothing to do any more", index + 1));
    return {};
  }
  const pid_t pid = victim.pid();
  // Asked before: once it is dead, somebody else soon has the lock.
  const bool is_holder = lock.report().holder_pid == static_cast<std::uint32_t>(pid);
  victim.kill();
  STRATA_TRY(victim.wait(deadline));
  story.check(is_holder, fmt::format("worker {} (pid {}) is killed with SIGKILL in the middle of a "
                                     "transaction, holding the lock, when {} of {} shares are done",
                                     index + 1, pid, shares.done(), shares.count));
  return {};
}

Result<void> run_workers(Story& story, strata::Os& os, const DemoOptions& options,
                         const std::string& corpus_uri, const std::string& map_uri,
                         MapShares& shares, strata::RobustMutex& lock) {
  std::vector<Child> workers;
  for (std::size_t i = 0; i < options.workers; ++i) {
    STRATA_ASSIGN(Child worker,
                  Child::start_self({"--map-worker", std::to_string(i), corpus_uri, map_uri}));
    workers.push_back(std::move(worker));
  }
  const std::size_t victims = std::min<std::size_t>(2, options.workers - 1);
  for (std::size_t i = 0; i < victims; ++i)
    STRATA_TRY(kill_inside(story, os, shares, lock, workers[i], i,
                           (i + 1) * shares.count / (victims + 1)));
  for (std::size_t i = victims; i < workers.size(); ++i) {
    STRATA_ASSIGN(const int status, workers[i].wait(Deadline::after_ms(kTimeoutMs)));
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
      return strata::fail(Code::internal,
                          fmt::format("worker {} ended with wait status {}", i + 1, status));
    }
  }
  std::uint32_t taken_over = 0;
  for (std::size_t i = 0; i < options.workers; ++i)
    taken_over += shares.workers[i].shares_taken_over.load();
  story.check(taken_over == lock.report().owner_deaths || victims == 0,
              fmt::format("the lock changed hands after {} deaths, {} shares were counted again",
                          lock.report().owner_deaths, taken_over));
  return {};
}

void compare(Story& story, const WordCounts& built, const WordMap& map,
             const WordCounts& reference) {
  std::uint64_t words = 0;
  std::vector<std::pair<std::uint64_t, std::string>> top;
  for (const auto& [word, count] : reference) {
    words += count;
    top.emplace_back(count, word);
  }
  std::sort(top.rbegin(), top.rend());
  std::string most;
  for (std::size_t i = 0; i < std::min(kTopWords, top.size()); ++i)
    most += fmt::format("{}{} {}", i == 0 ? "" : ", ", top[i].second, top[i].first);
  story.say("most frequent: " + most);
  story.check(built == reference && map.words == words && map.distinct == reference.size(),
              fmt::format("{} words, {} different ones: equal to what one process counts, word "
                          "for word",
                          map.words, map.distinct));
}

}  // namespace

Result<void> build_map(Story& story, strata::Catalog& catalog, strata::Os& os,
                       const DemoOptions& options, const strata::Segment& corpus) {
  story.title(fmt::format("Part two: {} processes build one map of words, in transactions",
                          options.workers));
  STRATA_ASSIGN(const std::vector<std::string_view> texts, texts_of(corpus));
  const std::string uri = options.prefix + ".words";
  STRATA_ASSIGN(
      strata::Segment segment,
      catalog.create(uri, {.payload_bytes = MiB(16), .lifetime = strata::Lifetime::process}));
  STRATA_ASSIGN(Heap heap, Heap::create(segment));
  STRATA_ASSIGN(strata::RobustMutex* const lock, heap.make<strata::RobustMutex>(kLockName));
  STRATA_ASSIGN(WordMap* const map, heap.make<WordMap>(kMapName));
  STRATA_ASSIGN(MapShares* const shares, heap.make<MapShares>(kSharesName));
  lock->count_contention();
  WordCounts reference;
  cut(texts, *shares, reference);

  story.step("The workers add their shares, each by one transaction");
  STRATA_TRY(run_workers(story, os, options, corpus.uri().to_string(), uri, *shares, *lock));
  story.step("The map, beside a count by a single process");
  STRATA_ASSIGN(const WordCounts built, read_map(heap, *map));
  compare(story, built, *map, reference);
  story.step("What the tools say");
  STRATA_TRY(heap.recover());
  story.strata("check " + uri);
  story.strata("objects " + uri);
  story.strata("locks " + uri);
  story.strata("heap " + uri);
  return {};
}

}  // namespace demo
