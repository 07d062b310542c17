// Several processes share real data without copying it, die, and are taken over from.
//
// usage: demo [--workers N] [FILE...]      by default the licence texts of this system
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <string_view>

#include "examples/demo/corpus.h"
#include "examples/demo/count_part.h"
#include "examples/demo/gpu_part.h"
#include "examples/demo/map_part.h"
#include "examples/demo/map_worker.h"
#include "examples/demo/shares.h"
#include "examples/demo/worker.h"
#include "os/os.h"

namespace {

using strata::Result;

constexpr const char* kDefaultTexts = "/usr/share/common-licenses";

Result<std::vector<std::string>> default_files() {
  std::vector<std::string> files;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(kDefaultTexts, error))
    if (entry.is_regular_file() && !entry.is_symlink()) files.push_back(entry.path().string());
  if (files.empty()) {
    return strata::fail(strata::Code::not_found,
                        fmt::format("no texts in {}; name some files instead", kDefaultTexts));
  }
  std::sort(files.begin(), files.end());
  return files;
}

Result<demo::DemoOptions> read_options(std::vector<std::string> arguments) {
  demo::DemoOptions options;
  if (arguments.size() >= 2 && arguments[0] == "--workers") {
    options.workers = std::strtoul(arguments[1].c_str(), nullptr, 10);
    arguments.erase(arguments.begin(), arguments.begin() + 2);
  }
  if (options.workers < 1 || options.workers > demo::kMaxWorkers) {
    return strata::fail(strata::Code::invalid_argument,
                        fmt::format("--workers: 1 to {}", demo::kMaxWorkers));
  }
  options.files = std::move(arguments);
  if (options.files.empty()) {
    STRATA_ASSIGN(options.files, default_files());
  }
  options.prefix = fmt::format("shm:strata-demo-{}", getpid());
  // Not /tmp, which may be memory: what is in a pool is to survive.
  const char* folder = std::getenv("TMPDIR");
  options.pool_path = fmt::format("{}/strata-demo-{}.pool", folder ? folder : "/var/tmp", getpid());
  return options;
}

Result<void> show_parts(demo::Story& story, strata::Catalog& catalog, strata::Os& os,
                        const demo::DemoOptions& options) {
  story.title(fmt::format("Part one: {} processes count the words of {} texts that they share",
                          options.workers, options.files.size()));
  STRATA_ASSIGN(const strata::Segment corpus, demo::load(story, catalog, options));
  STRATA_TRY(demo::count_shares(story, catalog, os, options, corpus));
  STRATA_TRY(demo::build_map(story, catalog, os, options, corpus));
  STRATA_TRY(demo::build_map_in_pool(story, catalog, os, options, corpus));
  return demo::share_device_memory(story, catalog, os, options, corpus);
}

Result<void> clean_up(demo::Story& story, strata::Catalog& catalog,
                      const demo::DemoOptions& options) {
  story.title("Cleaning up: the worker that was killed could not remove its own segment");
  story.strata("rm " + options.corpus_uri());
  story.strata("gc");
  story.strata("ls '" + options.prefix + "*'");
  std::size_t left = 0;
  for (const strata::SegmentStat& segment : catalog.list().segments) {
    const std::string uri = segment.uri.to_string();
    left += uri.starts_with(options.prefix) || uri == options.device_uri() ? 1 : 0;
  }
  story.check(left == 0, left == 0 ? "nothing is left" : fmt::format("{} segments are left", left));
  return {};
}

int tell(strata::Catalog& catalog, strata::Os& os, std::vector<std::string> arguments) {
  demo::Story story;
  const auto told = [&]() -> Result<void> {
    STRATA_ASSIGN(const demo::DemoOptions options, read_options(std::move(arguments)));
    const Result<void> shown = show_parts(story, catalog, os, options);
    const Result<void> cleaned = clean_up(story, catalog, options);
    return shown ? cleaned : shown;
  }();
  if (!told) story.failure(told.error());
  story.title(story.all_held() ? "All of it held." : "Something did not hold: see ✗ above.");
  return story.all_held() ? 0 : 1;
}

std::uint64_t number(const std::string& text) { return std::strtoull(text.c_str(), nullptr, 10); }

int report(const Result<void>& result) {
  if (result) return 0;
  std::fprintf(stderr, "demo: %s\n", result.error().to_string().c_str());
  return 1;
}

}  // namespace

int main(int argc, char** argv) {
  strata::RealOs os;
  strata::Catalog catalog = strata::make_catalog(os);
  std::vector<std::string> arguments(argv + 1, argv + argc);
  const std::string role = arguments.empty() ? "" : arguments[0];
  if (role == "--loader" && arguments.size() > 2)
    return report(
        demo::load_corpus(catalog, os, arguments[1], {arguments.begin() + 2, arguments.end()}));
  if (role == "--worker" && arguments.size() == 5) {
    return report(demo::run_worker(catalog, os,
                                   {.index = number(arguments[1]),
                                    .corpus_uri = arguments[2],
                                    .work_uri = arguments[3],
                                    .scratch_uri = arguments[4]}));
  }
  if (role == "--map-coordinator" && arguments.size() >= 4) {
    demo::MapCoordinatorOptions options = {arguments[1], arguments[2], number(arguments[3]), {}};
    for (std::size_t i = 4; i < arguments.size(); ++i)
      options.pauses.push_back(number(arguments[i]));
    return report(demo::run_map_coordinator(catalog, options));
  }
  if (role == "--map-worker" && arguments.size() == 5) {
    return report(demo::run_map_worker(catalog, os,
                                       {.index = number(arguments[1]),
                                        .corpus_uri = arguments[2],
                                        .map_uri = arguments[3],
                                        .pause_at = number(arguments[4])}));
  }
  if (role.starts_with("--gpu-") && arguments.size() == 3)
    return report(demo::run_gpu_process(catalog, role, arguments[1], arguments[2]));
  return tell(catalog, os, std::move(arguments));
}
