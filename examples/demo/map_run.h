// One run of the processes that build a map, as the story shows and disturbs it: it only looks at
// the map, and kills whom it is told to.
//   Threads:  one.
//   Lifetime: the coordinator, and with it the workers, end with the MapRun.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "examples/demo/process.h"
#include "examples/demo/story.h"
#include "examples/demo/word_map.h"
#include "strata/strata.h"

namespace demo {

struct MapRunOptions {
  std::string corpus_uri;
  std::string map_uri;
  std::size_t workers = 0;
  // The first workers stop in the middle of a transaction when that many shares are done.
  std::vector<std::uint64_t> pauses;
};

class MapRun {
 public:
  // Starts a coordinator, which starts the workers.
  static strata::Result<MapRun> start(Story& story, strata::Catalog& catalog, strata::Os& os,
                                      const MapRunOptions& options);

  // How many shares were done when the coordinator started.
  std::uint64_t done_at_start() const { return session_.shares->done_at_start; }

  // Waits until the worker stands in the middle of its transaction, and kills it there.
  strata::Result<void> kill_worker(std::size_t index);
  // Likewise, but kills the coordinator and with it all workers. How many shares were done.
  strata::Result<std::uint64_t> kill_all(std::size_t index);
  // Waits until the work is done. How many shares were taken over from the dead.
  strata::Result<std::uint32_t> finish();

 private:
  MapRun(Story& story, strata::Catalog& catalog, strata::Os& os, Child coordinator,
         MapRunOptions options)
      : story_(&story),
        catalog_(&catalog),
        os_(&os),
        coordinator_(std::move(coordinator)),
        options_(std::move(options)) {}
  strata::Result<void> wait_for_start();
  bool wait_until_inside(std::size_t index);
  bool is_holder(std::size_t index) const;

  Story* story_;
  strata::Catalog* catalog_;
  strata::Os* os_;
  Child coordinator_;
  MapRunOptions options_;
  MapSession session_;  // attached read-only
};

// Shows the most frequent words, and checks the map against what this process counts by itself.
strata::Result<void> compare_map(Story& story, const MapSession& session,
                                 std::span<const std::string_view> texts);

}  // namespace demo
