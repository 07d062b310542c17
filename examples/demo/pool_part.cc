#include <fmt/format.h>

#include <algorithm>
#include <filesystem>

#include "examples/demo/corpus.h"
#include "examples/demo/map_part.h"
#include "examples/demo/map_run.h"
#include "examples/demo/word_map.h"

namespace demo {
namespace {

using strata::MiB;
using strata::Result;

constexpr std::uint64_t kMapBytes = MiB(16);

struct RemovedAtEnd {
  std::string path;
  ~RemovedAtEnd() {
    std::error_code ignored;
    std::filesystem::remove(path, ignored);
  }
};

// The first run ends by the death of everybody; how many shares were done by then.
Result<std::uint64_t> run_until_all_are_killed(Story& story, strata::Catalog& catalog,
                                               strata::Os& os, MapRunOptions options,
                                               std::uint64_t share_count) {
  story.step("The workers add their shares, until they and their coordinator are killed");
  options.pauses = {share_count / 2};
  if (options.workers > 1) options.pauses.insert(options.pauses.begin(), share_count / 4);
  STRATA_ASSIGN(MapRun run, MapRun::start(story, catalog, os, options));
  if (options.workers > 1) STRATA_TRY(run.kill_worker(0));
  return run.kill_all(options.pauses.size() - 1);
}

Result<void> run_to_the_end(Story& story, strata::Catalog& catalog, strata::Os& os,
                            MapRunOptions options, std::uint64_t share_count,
                            std::uint64_t done_before) {
  story.step("It is started again, and goes on from where it was");
  if (options.workers > 1) options.pauses = {done_before + (share_count - done_before) / 2};
  STRATA_ASSIGN(MapRun run, MapRun::start(story, catalog, os, options));
  story.check(run.done_at_start() == done_before,
              fmt::format("every share that was done is there, and none that was not: {}",
                          run.done_at_start()));
  if (options.workers > 1) STRATA_TRY(run.kill_worker(0));
  STRATA_TRY(run.finish());
  return {};
}

}  // namespace

Result<void> build_map_in_pool(Story& story, strata::Catalog& catalog, strata::Os& os,
                               const DemoOptions& options, const strata::Segment& corpus) {
  story.title(fmt::format("Part three: {} processes build the map in a file that survives them",
                          options.workers));
  STRATA_ASSIGN(const std::vector<std::string_view> texts, texts_of(corpus));
  const RemovedAtEnd pool = {options.pool_path};
  const std::string uri = "pmem:" + pool.path + "#words";

  story.step("A pool, and in it the empty map");
  story.strata("pool create " + pool.path + " --size 32M");
  std::uint64_t share_count = 0;
  {
    STRATA_ASSIGN(const MapSession made,
                  create_map(catalog, uri, {.payload_bytes = kMapBytes}, texts));
    share_count = made.shares->count;
  }
  story.strata("pool ls " + pool.path);

  const MapRunOptions run = {corpus.uri().to_string(), uri, options.workers, {}};
  STRATA_ASSIGN(const std::uint64_t done,
                run_until_all_are_killed(story, catalog, os, run, share_count));
  STRATA_TRY(run_to_the_end(story, catalog, os, run, share_count, done));

  story.step("The map, beside a count by a single process");
  {
    STRATA_ASSIGN(const MapSession session, open_map(catalog, uri));
    STRATA_TRY(compare_map(story, session, texts));
    STRATA_TRY(session.heap->recover());
  }
  story.step("What the tools say, ours and PMDK's");
  story.strata("pool check " + pool.path);
  story.command("pmempool", "check -v " + pool.path);
  return {};
}

}  // namespace demo
