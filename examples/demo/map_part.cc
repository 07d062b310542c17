#include "examples/demo/map_part.h"

#include <fmt/format.h>

#include <algorithm>

#include "examples/demo/corpus.h"
#include "examples/demo/map_run.h"
#include "examples/demo/word_map.h"

namespace demo {
namespace {

using strata::MiB;
using strata::Result;

constexpr std::uint64_t kMapBytes = MiB(16);

}  // namespace

Result<void> build_map(Story& story, strata::Catalog& catalog, strata::Os& os,
                       const DemoOptions& options, const strata::Segment& corpus) {
  story.title(fmt::format("Part two: {} processes build one map of words, in transactions",
                          options.workers));
  STRATA_ASSIGN(const std::vector<std::string_view> texts, texts_of(corpus));
  const std::string uri = options.prefix + ".words";
  STRATA_ASSIGN(
      const MapSession session,
      create_map(catalog, uri, {.payload_bytes = kMapBytes, .lifetime = strata::Lifetime::process},
                 texts));

  story.step("The workers add their shares, each by one transaction");
  MapRunOptions run_options = {corpus.uri().to_string(), uri, options.workers, {}};
  const std::size_t victims = std::min<std::size_t>(2, options.workers - 1);
  for (std::size_t i = 0; i < victims; ++i)
    run_options.pauses.push_back((i + 1) * session.shares->count / (victims + 1));
  STRATA_ASSIGN(MapRun run, MapRun::start(story, catalog, os, run_options));
  for (std::size_t i = 0; i < victims; ++i)
    STRATA_TRY(run.kill_worker(i));
  STRATA_ASSIGN(const std::uint32_t taken_over, run.finish());
  const std::uint64_t deaths = session.lock->report().owner_deaths;
  story.check(taken_over == deaths,
              fmt::format("the lock changed hands after {} deaths, {} shares were counted again",
                          deaths, taken_over));

  story.step("The map, beside a count by a single process");
  STRATA_TRY(compare_map(story, session, texts));
  story.step("What the tools say");
  STRATA_TRY(session.heap->recover());
  story.strata("check " + uri);
  story.strata("objects " + uri);
  story.strata("locks " + uri);
  story.strata("heap " + uri);
  return {};
}

}  // namespace demo
