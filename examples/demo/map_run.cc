#include "examples/demo/map_run.h"

#include <fmt/format.h>
#include <signal.h>
#include <sys/wait.h>

#include <algorithm>

#include "os/os.h"

namespace demo {
namespace {

using strata::Code;
using strata::Deadline;
using strata::Result;

constexpr std::uint64_t kTimeoutMs = 120'000;
constexpr std::uint64_t kLookNs = 200'000;
constexpr std::size_t kTopWords = 5;

}  // namespace

Result<MapRun> MapRun::start(Story& story, strata::Catalog& catalog, strata::Os& os,
                             const MapRunOptions& options) {
  std::vector<std::string> arguments = {"--map-coordinator", options.corpus_uri, options.map_uri,
                                        std::to_string(options.workers)};
  for (const std::uint64_t pause : options.pauses)
    arguments.push_back(std::to_string(pause));
  STRATA_ASSIGN(Child coordinator, Child::start_self(arguments));
  MapRun run(story, catalog, os, std::move(coordinator), options);
  STRATA_TRY(run.wait_for_start());
  return run;
}

Result<void> MapRun::wait_for_start() {
  STRATA_ASSIGN(session_, open_map(*catalog_, options_.map_uri, strata::Access::read_only));
  const Deadline deadline = Deadline::after_ms(kTimeoutMs);
  const auto pid = static_cast<std::uint32_t>(coordinator_.pid());
  while (session_.shares->coordinator_pid.load() != pid) {
    if (deadline.expired() || !coordinator_.is_running())
      return strata::fail(Code::internal, "the coordinator does not start");
    os_->sleep_ns(kLookNs);
  }
  story_->say(fmt::format("coordinator (pid {}) starts {} workers; {} of {} shares are in the map",
                          pid, options_.workers, done_at_start(), session_.shares->count));
  return {};
}

bool MapRun::wait_until_inside(std::size_t index) {
  const Deadline deadline = Deadline::after_ms(kTimeoutMs);
  const MapShares& shares = *session_.shares;
  const auto is_inside = [&] { return shares.workers[index].is_paused.load() != 0; };
  while (!is_inside() && shares.done() < shares.count && coordinator_.is_running() &&
         !deadline.expired())
    os_->sleep_ns(kLookNs);
  if (!is_inside()) story_->say(fmt::format("worker {} found nothing to do any more", index + 1));
  return is_inside();
}

bool MapRun::is_holder(std::size_t index) const {
  return session_.lock->report().holder_pid == session_.shares->workers[index].pid.load();
}

Result<void> MapRun::kill_worker(std::size_t index) {
  if (!wait_until_inside(index)) return {};
  // Asked before: once it is dead, somebody else soon has the lock.
  const bool holds_lock = is_holder(index);
  const MapShares& shares = *session_.shares;
  const std::uint32_t pid = shares.workers[index].pid.load();
  const std::uint64_t done = shares.done();
  ::kill(static_cast<pid_t>(pid), SIGKILL);
  story_->check(holds_lock,
                fmt::format("worker {} (pid {}) is killed with SIGKILL in the middle of a "
                            "transaction, holding the lock, when {} of {} shares are done",
                            index + 1, pid, done, shares.count));
  return {};
}

Result<std::uint64_t> MapRun::kill_all(std::size_t index) {
  const bool is_inside = wait_until_inside(index);
  const bool holds_lock = is_inside && is_holder(index);
  const std::uint64_t done = session_.shares->done();
  const pid_t pid = coordinator_.pid();
  coordinator_.kill();
  const Deadline deadline = Deadline::after_ms(kTimeoutMs);
  STRATA_TRY(coordinator_.wait(deadline));
  while (true) {  // its workers are killed by the kernel
    STRATA_ASSIGN(const strata::SegmentStat stat, catalog_->stat(options_.map_uri));
    if (!stat.is_attached_for_writing) break;
    if (deadline.expired()) return strata::fail(Code::timed_out, "the workers do not end");
    os_->sleep_ns(kLookNs);
  }
  story_->check(
      holds_lock || !is_inside,
      fmt::format(
          "coordinator (pid {}) and all workers are killed with SIGKILL{}, when "
          "{} of {} shares are done",
          pid,
          is_inside ? fmt::format(", worker {} in the middle of a transaction", index + 1) : "",
          done, session_.shares->count));
  return done;
}

Result<std::uint32_t> MapRun::finish() {
  STRATA_ASSIGN(const int status, coordinator_.wait(Deadline::after_ms(kTimeoutMs)));
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
    return strata::fail(Code::internal,
                        fmt::format("the coordinator ended with wait status {}", status));
  }
  std::uint32_t taken_over = 0;
  for (std::size_t i = 0; i < options_.workers; ++i)
    taken_over += session_.shares->workers[i].shares_taken_over.load();
  return taken_over;
}

Result<void> compare_map(Story& story, const MapSession& session,
                         std::span<const std::string_view> texts) {
  STRATA_ASSIGN(const WordCounts built, read_map(session));
  const WordCounts reference = count_shares(texts, *session.shares);
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
  story.check(built == reference && session.map->words == words,
              fmt::format("{} words, {} different ones: equal to what one process counts, word "
                          "for word",
                          session.map->words, built.size()));
  return {};
}

}  // namespace demo
