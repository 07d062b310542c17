// strata.Pool's compiled part: what strata/_pool.py is written with.
#include "python/core/pool.h"

#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/string_view.h>
#include <nanobind/stl/vector.h>

#include "python/core/catalog.h"
#include "python/core/held_buffer.h"
#include "python/core/pmdk.h"
#include "python/core/segment.h"
#include "python/core/shared_object.h"
#include "strata/copy.h"
#include "strata/copy_sources.h"
#include "strata/numa/placement_text.h"
#include "strata/pmem/checkpoint.h"
#include "strata/pmem/pool.h"
#include "strata/segment/content.h"

namespace strata::python {

using namespace nb::literals;  // NOLINT(google-build-using-namespace): nanobind's own way

namespace {

constexpr std::uint64_t kChangeMs = 10'000;

// A C-contiguous buffer of Python, as a source that knows what it is.
class ArraySource final : public ByteSource {
 public:
  ArraySource(std::span<const std::byte> bytes, Content content)
      : bytes_(bytes), content_(std::move(content)) {}
  std::string name() const override { return "an array"; }
  std::optional<std::uint64_t> bytes() const override { return bytes_.bytes(); }
  Result<const Content*> content() const override { return &content_; }
  Result<void> read(std::uint64_t offset_bytes, std::span<std::byte> into) override {
    return bytes_.read(offset_bytes, into);
  }
  std::span<const std::byte> view(std::uint64_t offset_bytes, std::uint64_t bytes) const override {
    return bytes_.view(offset_bytes, bytes);
  }

 private:
  SpanSource bytes_;
  Content content_;
};

// New versions that nobody sees before commit(), which publishes all of them under one number.
// What is staged is given back where it is dropped, and where its process is killed.
class PyTransaction {
 public:
  explicit PyTransaction(std::string path)
      : pool_(take_without_gil([&] { return Pool::open(path); })) {}
  PyTransaction(const PyTransaction&) = delete;
  PyTransaction& operator=(const PyTransaction&) = delete;

  void stage(const std::string& name, nb::handle array, std::string element,
             std::vector<std::uint64_t> shape, std::uint32_t keep) {
    if (is_done_) raise(Code::failed_precondition, "the transaction has ended: begin another one");
    const HeldBuffer buffer(array);
    ArraySource source(buffer.bytes(),
                       {.type = {}, .element = std::move(element), .shape = std::move(shape)});
    CheckpointOptions options;
    options.keep_versions = keep;
    options.timeout_ms = kChangeMs;
    staged_.push_back(
        take_without_gil([&] { return stage_checkpoint(source, pool_, name, options); }));
  }

  std::uint64_t commit() {
    if (is_done_) raise(Code::failed_precondition, "the transaction has ended: begin another one");
    is_done_ = true;
    const std::uint64_t version = take_without_gil([&] { return pool_.publish_as_one(staged_); });
    staged_.clear();
    return version;
  }

  void abort() {
    is_done_ = true;
    staged_.clear();
  }

 private:
  Pool pool_;
  std::vector<StagedSegment> staged_;
  bool is_done_ = false;
};

nb::list versions(const std::string& path, const std::string& name) {
  const std::vector<PoolVersion> found =
      take_without_gil([&]() -> Result<std::vector<PoolVersion>> {
        STRATA_ASSIGN(const Pool pool, Pool::open(path));
        return pool.versions(name);
      });
  nb::list list;
  for (const PoolVersion& version : found) {
    nb::dict one;
    one["name"] = version.name;
    one["version"] = version.version;
    one["nbytes"] = version.payload_bytes;
    one["is_current"] = version.is_current;
    one["has_checksums"] = version.has_checksums;
    one["published_unix_s"] = static_cast<double>(version.published_unix_ns) / 1e9;
    one["problem"] =
        version.problem.empty() ? nb::none() : nb::object(nb::str(version.problem.c_str()));
    list.append(one);
  }
  return list;
}

// A version, each block compared with its checksum, in memory of its own that is gone with its last
// user.
nb::object load(const std::string& path, const std::string& name, std::uint64_t version,
                std::optional<std::string> placement) {
  const std::string to = unique_uri("strata.loaded");
  CreateOptions options{.publish = Publish::by_creator, .lifetime = Lifetime::last_detach};
  if (placement) options.placement = take(parse_placement(*placement));
  Catalog& catalog = catalog_for(to);
  Segment loaded = take_without_gil([&]() -> Result<Segment> {
    STRATA_ASSIGN(const Pool pool, Pool::open(path));
    STRATA_ASSIGN(const auto source,
                  open_version(pool, name, version, {.even_if_unverified = true}));
    options.payload_bytes = source->bytes().value_or(0);
    STRATA_ASSIGN(const Content* const content, source->content());
    if (content != nullptr) options.content = *content;
    STRATA_ASSIGN(Segment segment, catalog.create(to, options));
    STRATA_TRY(copy(*source, segment));
    STRATA_TRY(segment.publish());
    return segment;
  });
  return nb::cast(new PySegment(std::move(loaded)), nb::rv_policy::take_ownership);
}

}  // namespace

void bind_pool(nb::module_& module) {
  nb::class_<PyTransaction>(module, "PoolTransaction")
      .def("stage", &PyTransaction::stage)
      .def("commit", &PyTransaction::commit)
      .def("abort", &PyTransaction::abort);
  module.def(
      "pool_begin",
      [](std::string path) {
        load_pmdk();
        return new PyTransaction(std::move(path));
      },
      nb::rv_policy::take_ownership);
  module.def("pool_create", [](const std::string& path, std::uint64_t bytes, std::uint32_t mode) {
    load_pmdk();
    take_without_gil([&]() -> Result<void> {
      STRATA_TRY(Pool::create(path, {.bytes = bytes, .mode = mode}));
      return {};
    });
  });
  module.def("pool_open", [](const std::string& path) {
    load_pmdk();
    take_without_gil([&]() -> Result<void> {
      STRATA_TRY(Pool::open(path));
      return {};
    });
  });
  module.def("pool_versions", &versions);
  module.def("pool_load", &load);
  module.def("pool_rollback",
             [](const std::string& path, const std::string& name, std::uint64_t version) {
               take_without_gil([&]() -> Result<void> {
                 STRATA_ASSIGN(const Pool pool, Pool::open(path));
                 return pool.rollback(name, version);
               });
             });
  module.def("pool_remove", [](const std::string& path, const std::string& name) {
    take_without_gil([&]() -> Result<void> {
      STRATA_ASSIGN(const Pool pool, Pool::open(path));
      return pool.remove({.name = name});
    });
  });
  module.def("pool_verify",
             [](const std::string& path, const std::string& name, std::uint64_t version) {
               return take_without_gil([&]() -> Result<std::uint64_t> {
                 STRATA_ASSIGN(const Pool pool, Pool::open(path));
                 STRATA_ASSIGN(const VerifyReport report, verify_blocks(pool, name, version));
                 return report.bad_block_count;
               });
             });
}

}  // namespace strata::python
