#include <fmt/format.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "examples/demo/map_worker.h"
#include "examples/demo/process.h"
#include "examples/demo/story.h"
#include "examples/demo/word_map.h"

namespace demo {
namespace {

using strata::Result;

constexpr std::uint64_t kTimeoutMs = 120'000;

// Who works on what is of a run, and no part of what survives.
void begin_run(MapShares& shares) {
  for (MapShare& share : shares.shares)
    share.owner.store(0);
  for (MapWorker& worker : shares.workers) {
    worker.pid.store(0);
    worker.is_paused.store(0);
    worker.shares.store(0);
    worker.shares_taken_over.store(0);
  }
  shares.done_at_start = shares.done();
  shares.coordinator_pid.store(static_cast<std::uint32_t>(getpid()));
}

}  // namespace

Result<void> run_map_coordinator(strata::Catalog& catalog, const MapCoordinatorOptions& options) {
  STRATA_ASSIGN(const MapSession session, open_map(catalog, options.map_uri));
  begin_run(*session.shares);
  std::vector<Child> workers;
  for (std::size_t i = 0; i < options.workers; ++i) {
    const std::uint64_t pause_at =
        i < options.pauses.size() ? options.pauses[i] : MapWorkerOptions::kNeverPause;
    STRATA_ASSIGN(Child worker,
                  Child::start_self({"--map-worker", std::to_string(i), options.corpus_uri,
                                     options.map_uri, std::to_string(pause_at)}));
    workers.push_back(std::move(worker));
  }
  const auto deadline = strata::Deadline::after_ms(kTimeoutMs);
  for (std::size_t i = 0; i < workers.size(); ++i) {
    STRATA_ASSIGN(const int status, workers[i].wait(deadline));
    const bool was_killed = WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
    if (!was_killed && (!WIFEXITED(status) || WEXITSTATUS(status) != 0)) {
      return strata::fail(strata::Code::internal,
                          fmt::format("worker {} ended with wait status {}", i + 1, status));
    }
  }
  return {};
}

}  // namespace demo
