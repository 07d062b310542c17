#include "strata/segment/catalog.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>

#include "os/os.h"
#include "segment/backend.h"

namespace strata::inline v0_1 {

Catalog::Catalog(std::vector<std::unique_ptr<Backend>> backends, Os& os)
    : Catalog(std::move(backends), std::shared_ptr<Os>(std::shared_ptr<void>(), &os)) {}

Catalog::Catalog(std::vector<std::unique_ptr<Backend>> backends, std::shared_ptr<Os> os)
    : world_(std::make_shared<World>(
          World{os ? std::move(os) : std::make_shared<RealOs>(), std::move(backends)})) {
  for (const auto& backend : world_->backends)
    backend->set_world(world_);
}

Result<Backend*> Catalog::backend(std::string_view scheme) {
  std::string known;
  for (const auto& backend : world_->backends) {
    if (backend->scheme() == scheme) return backend.get();
    known += fmt::format("{}{}:", known.empty() ? "" : ", ", backend->scheme());
  }
  return fail(Code::unsupported, fmt::format("no backend for '{}:'; there are {}", scheme, known));
}

Result<Segment> Catalog::create(std::string_view text, const CreateOptions& options) {
  STRATA_ASSIGN(const SegmentUri uri, SegmentUri::parse(text));
  STRATA_ASSIGN(Backend* const to, backend(uri.scheme));
  return to->create(uri, options);
}

Result<Segment> Catalog::attach(std::string_view text, const AttachOptions& options) {
  STRATA_ASSIGN(const SegmentUri uri, SegmentUri::parse(text));
  STRATA_ASSIGN(Backend* const to, backend(uri.scheme));
  return to->attach(uri, options);
}

Result<SegmentStat> Catalog::stat(std::string_view text) {
  STRATA_ASSIGN(const SegmentUri uri, SegmentUri::parse(text));
  STRATA_ASSIGN(Backend* const to, backend(uri.scheme));
  return to->stat(uri);
}

Result<void> Catalog::remove(std::string_view text, const RemoveOptions& options) {
  STRATA_ASSIGN(const SegmentUri uri, SegmentUri::parse(text));
  STRATA_ASSIGN(Backend* const to, backend(uri.scheme));
  return to->remove(uri, options);
}

Result<Segment> Catalog::create_anonymous(const CreateOptions& options) {
  Status failure(Code::unsupported, "create an anonymous segment: there is no backend");
  for (const auto& backend : world_->backends) {
    auto made = backend->create_anonymous(options);
    if (made || made.error().code() != Code::unsupported) return made;
    // The first one is the one that was meant to have them.
    if (backend == world_->backends.front()) failure = made.error();
  }
  return unexpected(std::move(failure));
}

SegmentList Catalog::list(const ListOptions& options) {
  SegmentList all;
  bool is_known = options.scheme.empty();
  for (const auto& backend : world_->backends) {
    if (!options.scheme.empty() && backend->scheme() != options.scheme) continue;
    is_known = true;
    const auto places = options.container.empty() ? backend->containers({}, GoneRecords::keep)
                                                  : std::vector<std::string>{options.container};
    for (const std::string& place : places) {
      auto listed = backend->list(place);
      if (listed) {
        std::move(listed->begin(), listed->end(), std::back_inserter(all.segments));
      } else {
        all.problems.push_back({fmt::format("{}:{}", backend->scheme(), place), listed.error()});
      }
    }
  }
  if (!is_known) all.problems.push_back({options.scheme + ":", backend(options.scheme).error()});
  return all;
}

ReclaimReport Catalog::reclaim(const ReclaimOptions& options) {
  ReclaimReport report;
  const GoneRecords gone = options.dry_run ? GoneRecords::keep : GoneRecords::drop;
  for (const auto& backend : world_->backends) {
    for (const std::string& place : backend->containers(options.containers, gone)) {
      auto decided = backend->reclaim(place, options);
      if (decided) {
        std::move(decided->begin(), decided->end(), std::back_inserter(report.decisions));
      } else {
        report.problems.push_back(
            {fmt::format("{}:{}", backend->scheme(), place), decided.error()});
      }
    }
  }
  return report;
}

}  // namespace strata::inline v0_1
