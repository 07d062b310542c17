#include "strata/segment/catalog.h"

#include "segment/fake_backend.h"
#include "tests/catch.h"

using namespace strata;

namespace {

RealOs os;

// Names of another scheme in two containers, one of which cannot be looked at.
class HalfBroken final : public Backend {
 public:
  std::string_view scheme() const override { return "half"; }
  const Capabilities& capabilities() const override {
    static const Capabilities all =
        Capabilities().without(Capability::anonymous, "half of it is broken");
    return all;
  }
  Result<SegmentStat> stat(const SegmentUri&) override { return broken(); }
  Result<void> remove(const SegmentUri&, const RemoveOptions&) override { return broken(); }
  std::vector<std::string> containers(const std::vector<std::string>& named,
                                      GoneRecords gone) override {
    last_gone = gone;
    std::vector<std::string> all = {"/broken", "/sound"};
    all.insert(all.end(), named.begin(), named.end());
    return all;
  }
  Result<std::vector<SegmentStat>> list(std::string_view container) override {
    if (container == "/broken") return broken();
    SegmentStat stat;
    stat.uri = {"half", std::string(container), "mesh"};
    return std::vector<SegmentStat>{stat};
  }
  Result<std::vector<ReclaimDecision>> reclaim(std::string_view container,
                                               const ReclaimOptions&) override {
    if (container == "/broken") return broken();
    ReclaimDecision decision;
    decision.uri = {"half", std::string(container), "mesh"};
    return std::vector<ReclaimDecision>{decision};
  }

  GoneRecords last_gone = GoneRecords::keep;

 protected:
  Result<Segment> do_create(const SegmentUri&, const CreateOptions&) override { return broken(); }
  Result<Segment> do_attach(const SegmentUri&, const AttachOptions&) override { return broken(); }

 private:
  static Unexpected broken() { return fail(Code::corrupt, "it is broken"); }
};

struct Two {
  HalfBroken* half = nullptr;
  Catalog catalog = make();

  Catalog make() {
    std::vector<std::unique_ptr<Backend>> backends;
    auto first = std::make_unique<HalfBroken>();
    half = first.get();
    backends.push_back(std::move(first));
    backends.push_back(std::make_unique<FakeBackend>(os));
    return Catalog(std::move(backends));
  }
};

template <typename Item>
std::vector<std::string> uris_of(const std::vector<Item>& items) {
  std::vector<std::string> uris;
  for (const Item& item : items)
    uris.push_back(item.uri.to_string());
  return uris;
}

using Texts = std::vector<std::string>;

}  // namespace

TEST_CASE_METHOD(Two, "what_cannot_be_listed_is_told_beside_what_can") {
  const auto made =
      catalog.create("fake:mine", {.payload_bytes = 1, .placement = {}, .job_id = {}});
  REQUIRE(made);
  const SegmentList all = catalog.list();
  CHECK(uris_of(all.segments) == Texts{"half:/sound#mesh", "fake:mine"});
  REQUIRE(all.problems.size() == 1);
  CHECK(all.problems[0].where == "half:/broken");
  CHECK(all.problems[0].status.code() == Code::corrupt);
  CHECK(uris_of(catalog.list({.scheme = "fake"}).segments) == Texts{"fake:mine"});
  CHECK(catalog.list({.scheme = "fake"}).problems.empty());
  CHECK(uris_of(catalog.list({.scheme = "half", .container = "/third"}).segments) ==
        Texts{"half:/third#mesh"});
  const SegmentList none = catalog.list({.scheme = "absent"});
  CHECK(none.segments.empty());
  REQUIRE(none.problems.size() == 1);
  CHECK(none.problems[0].status.code() == Code::unsupported);
}

TEST_CASE_METHOD(Two, "what_cannot_be_reclaimed_keeps_nothing_else_from_being_reclaimed") {
  const auto made =
      catalog.create("fake:mine", {.payload_bytes = 1, .placement = {}, .job_id = {}});
  REQUIRE(made);
  const ReclaimReport report = catalog.reclaim({.containers = {"/named"}});
  CHECK(uris_of(report.decisions) == Texts{"half:/sound#mesh", "half:/named#mesh", "fake:mine"});
  REQUIRE(report.problems.size() == 1);
  CHECK(report.problems[0].where == "half:/broken");
  CHECK(half->last_gone == GoneRecords::drop);
  (void)catalog.reclaim({.dry_run = true});
  CHECK(half->last_gone == GoneRecords::keep);
}

TEST_CASE_METHOD(Two, "a_job_segment_is_an_orphan_only_where_its_jobs_end_is_known") {
  {
    CreateOptions options;
    options.payload_bytes = 1;
    options.lifetime = Lifetime::job;
    options.job_id = "4711";
    REQUIRE(catalog.create("fake:of-job", options));
  }
  const auto decide = [&](const JobOracle& oracle) {
    const auto decisions = catalog.reclaim({.dry_run = true, .job_oracle = oracle}).decisions;
    return decisions.back();
  };
  const auto says = [](JobState::Kind kind) -> JobOracle {
    return [kind](std::string_view job) -> JobState {
      CHECK(job == "4711");
      return {kind, "the scheduler says so"};
    };
  };
  CHECK_FALSE(decide({}).is_orphan);
  CHECK(decide({}).evidence.find("not known to have ended") != std::string::npos);
  CHECK_FALSE(decide(says(JobState::Kind::unknown)).is_orphan);
  const auto alive = decide(says(JobState::Kind::alive));
  CHECK_FALSE(alive.is_orphan);
  CHECK(alive.evidence.find("is alive: the scheduler says so") != std::string::npos);
  const auto ended = decide(says(JobState::Kind::ended));
  CHECK(ended.is_orphan);
  CHECK(ended.evidence.find("has ended: the scheduler says so") != std::string::npos);
}

TEST_CASE_METHOD(Two, "a_segment_is_removed_only_if_it_is_the_one_that_was_meant") {
  const auto made =
      catalog.create("fake:mine", {.payload_bytes = 1, .placement = {}, .job_id = {}});
  REQUIRE(made);
  auto uuid = made->identity().uuid;
  uuid[0] ^= 1;
  const auto other = catalog.remove("fake:mine", {.even_if_attached = true, .uuid = uuid});
  REQUIRE(!other);
  CHECK(other.error().code() == Code::not_found);
  CHECK(catalog.stat("fake:mine"));
  CHECK(catalog.remove("fake:mine", {.even_if_attached = true, .uuid = made->identity().uuid}));
  CHECK(catalog.stat("fake:mine").error().code() == Code::not_found);
}

TEST_CASE_METHOD(Two, "an_anonymous_segment_that_no_backend_has_is_unsupported") {
  const auto made = catalog.create_anonymous({.payload_bytes = 1, .placement = {}, .job_id = {}});
  REQUIRE(!made);
  CHECK(made.error().code() == Code::unsupported);
}
