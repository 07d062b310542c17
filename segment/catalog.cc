#include "segment/catalog.h"

#include <fmt/format.h>

namespace strata {

Catalog::Catalog(std::vector<std::unique_ptr<Backend>> backends) : backends_(std::move(backends)) {}

Result<Backend*> Catalog::backend(std::string_view scheme) {
  std::string known;
  for (const auto& backend : backends_) {
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

Result<Segment> Catalog::attach_or_create(std::string_view uri, const CreateOptions& create_options,
                                          const AttachOptions& attach_options) {
  // A name can vanish between the two calls, but not for ever: a few rounds settle it.
  constexpr int kRounds = 8;
  for (int round = 1;; ++round) {
    auto attached = attach(uri, attach_options);
    if (attached || attached.error().code() != Code::not_found || round == kRounds) {
      return attached;
    }
    auto created = create(uri, create_options);
    if (created || created.error().code() != Code::already_exists || round == kRounds) {
      return created;
    }
  }
}

}  // namespace strata
