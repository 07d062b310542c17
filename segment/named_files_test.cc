// Named header files: made without a name, linked last, and judged by header
// and locks alone.
#include "segment/named_files.h"

#include <optional>

#include "segment/new_identity.h"
#include "tests/catch.h"
#include "tests/temp_dir.h"

using namespace strata;

namespace {

struct Directory {
  test::TempDir folder{"/dev/shm"};
  RealOs os;
  NamedFiles shm{os, {.scheme = "shm", .directory = folder.path(), .prefix = "strata"}};
  NamedFiles fake{os, {.scheme = "fake", .directory = folder.path(), .prefix = "strata-fake"}};

  // A header file that is complete; its creator lives as long as what this
  // returns.
  Result<std::unique_ptr<HeaderPlane>> make(NamedFiles& files, const SegmentUri& uri,
                                            SegmentState state) {
    const SegmentKind kind = uri.scheme == "shm" ? SegmentKind::shm : SegmentKind::fake;
    STRATA_ASSIGN(
        const IdentityBlock identity,
        make_identity(os, kind, uri.name, {.payload_bytes = 100, .placement = {}, .job_id = {}}));
    STRATA_ASSIGN(Fd file, files.create_unnamed(0600));
    STRATA_TRY(os.ftruncate(file.get(), 2 * kPageBytes));
    STRATA_TRY(os.pwrite(file.get(), make_header_page(identity, state), 0));
    auto plane = std::make_unique<HeaderPlane>(os, std::move(file), Access::read_write);
    STRATA_TRY(plane->lease_as_creator());
    STRATA_TRY(files.link(plane->fd(), uri));
    return plane;
  }
};

std::vector<std::string> names_of(const Result<std::vector<SegmentStat>>& stats) {
  std::vector<std::string> names;
  for (const SegmentStat& stat : stats.value()) {
    CHECK(!stat.problem);
    names.push_back(stat.uri.to_string());
  }
  return names;
}

using Names = std::vector<std::string>;

}  // namespace

TEST_CASE_METHOD(Directory, "two_kinds_of_header_files_in_one_directory_never_meet") {
  const SegmentUri names[] = {{"shm", {}, "mesh"}, {"shm", {}, "fake.mesh"}};
  for (const SegmentUri& uri : names)
    REQUIRE(make(shm, uri, SegmentState::ready));
  REQUIRE(make(fake, {"fake", {}, "mesh"}, SegmentState::ready));
  CHECK(names_of(shm.list()) == Names{"shm:fake.mesh", "shm:mesh"});
  CHECK(names_of(fake.list()) == Names{"fake:mesh"});
  CHECK(shm.reclaim({.dry_run = true})->size() == 2);
  CHECK(fake.reclaim({.dry_run = true})->size() == 1);
  REQUIRE(shm.remove({"shm", {}, "mesh"}, {}));
  REQUIRE(shm.remove({"shm", {}, "fake.mesh"}, {}));
  CHECK(fake.stat({"fake", {}, "mesh"}));
  CHECK(shm.stat({"shm", {}, "mesh"}).error().code() == Code::not_found);
}

TEST_CASE_METHOD(Directory,
                 "a_name_is_taken_while_its_creator_lives_and_free_"
                 "once_it_died_unfinished") {
  const SegmentUri uri{"shm", {}, "mesh"};
  auto first = make(shm, uri, SegmentState::initialising);
  REQUIRE(first);
  CHECK(make(shm, uri, SegmentState::initialising).error().code() == Code::already_exists);
  const auto uuid = shm.stat(uri)->identity.uuid;
  first->reset();  // as the kernel does for whoever is killed
  REQUIRE(make(shm, uri, SegmentState::ready));
  CHECK(shm.stat(uri)->identity.uuid != uuid);
}

TEST_CASE_METHOD(Directory, "only_the_segment_that_is_meant_is_removed") {
  const SegmentUri uri{"shm", {}, "mesh"};
  REQUIRE(make(shm, uri, SegmentState::ready));
  std::array<std::uint8_t, 16> other{};
  other.fill(7);
  CHECK(shm.remove(uri, {.uuid = other}).error().code() == Code::not_found);
  IdentityBlock identity{};
  identity.uuid = other;
  shm.abandon(uri, identity);
  CHECK(shm.stat(uri));
  REQUIRE(shm.remove(uri, {.uuid = shm.stat(uri)->identity.uuid}));
  CHECK(shm.stat(uri).error().code() == Code::not_found);
}
