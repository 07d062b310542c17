// Pools that hold more than segments: no operation that copies segment by segment drops the rest.
#include "pmem/other_objects.h"

#include <array>

#include "pmem/directory_change.h"
#include "pmem/pool_testing.h"
#include "pmem/repair.h"
#include "strata/pmem/backup.h"
#include "strata/pmem/checkpoint.h"
#include "strata/pmem/persistent.h"
#include "strata/pmem/snapshot.h"
#include "tests/catch.h"

using namespace strata;
using strata::test::make_pool;
using strata::test::TempDir;

namespace {

using Block = std::array<std::byte, 5000>;

struct Root {
  pmem::persistent_ptr<Block> block;
};

// A pool with a segment, a typed root and an object that hangs on it.
Pool make_mixed_pool(Os& os, const std::string& path) {
  const Pool pool = make_pool(os, path, MiB(16));
  REQUIRE(checkpoint(std::vector<std::byte>(70'000, std::byte{1}), pool, "m"));
  REQUIRE(pool.make_user_root(sizeof(Root)));
  auto owned = pmem::pool<Root>::open(os, path, "strata").value();
  REQUIRE(pmem::transaction::run(owned, [&]() -> Result<void> {
    STRATA_ASSIGN(auto root, owned.root());
    STRATA_ASSIGN(auto block, pmem::make_persistent<Block>());
    (*block)[7] = std::byte{42};
    root->block = block;
    return {};
  }));
  return pool;
}

bool has_its_objects(Os& os, const std::string& path) {
  auto owned = pmem::pool<Root>::open(os, path, "strata").value();
  const auto root = owned.root();
  return root && (*root)->block && (*(*root)->block)[7] == std::byte{42};
}

void require_named(const Status& error) {
  INFO(error.message());
  CHECK(error.code() == Code::failed_precondition);
  CHECK(error.message().find("2 objects that are no segments") != std::string::npos);
  CHECK(error.message().find("1 of type 21333, the typed root") != std::string::npos);
  CHECK(error.message().find("1 of type 0") != std::string::npos);
}

}  // namespace

TEST_CASE("growing_a_pool_that_holds_other_objects_is_refused_and_names_them") {
  RealOs os;
  const TempDir dir;
  const Pool pool = make_mixed_pool(os, dir / "p");
  const auto before = os.stat(pool.path()).value();
  const auto grown = grow_pool(pool, MiB(32));
  REQUIRE(!grown);
  require_named(grown.error());
  CHECK(os.stat(pool.path()).value().st_ino == before.st_ino);
  CHECK(has_its_objects(os, pool.path()));
}

TEST_CASE("a_backup_of_a_pool_that_holds_other_objects_is_refused_and_names_them") {
  RealOs os;
  const TempDir dir;
  const Pool pool = make_mixed_pool(os, dir / "p");
  const auto made = backup_pool(pool, dir / "b");
  REQUIRE(!made);
  require_named(made.error());
  CHECK(!os.stat(dir / "b"));
}

TEST_CASE("a_repair_drops_other_objects_only_where_that_was_asked_for_and_then_names_them") {
  RealOs os;
  const TempDir dir;
  const Pool pool = make_mixed_pool(os, dir / "p");
  for (const bool in_place : {false, true}) {
    const auto refused = repair_pool(os, pool.path(), {.in_place = in_place});
    REQUIRE(!refused);
    require_named(refused.error());
    CHECK(refused.error().message().find("--drop-objects") != std::string::npos);
    CHECK(os.list_directory(dir.path()).value() == std::vector<std::string>{"p"});
  }
  CHECK(has_its_objects(os, pool.path()));
  const auto dropped = repair_pool(os, pool.path(), {.drop_objects = true}).value();
  CHECK(dropped.heap_was_walked);
  CHECK(dropped.versions_kept == 1);
  REQUIRE(dropped.lost.size() == 1);
  CHECK(dropped.lost[0].find("2 objects that are no segments") != std::string::npos);
  CHECK(has_its_objects(os, pool.path()));
}

TEST_CASE("a_snapshot_keeps_objects_that_are_no_segments") {
  RealOs os;
  const TempDir dir;
  const Pool pool = make_mixed_pool(os, dir / "p");
  REQUIRE(snapshot_pool(pool, dir / "copy"));
  CHECK(has_its_objects(os, dir / "copy"));
}

TEST_CASE("a_pool_of_segments_alone_has_no_other_objects_whatever_their_state") {
  RealOs os;
  const TempDir dir;
  const Pool pool = make_pool(os, dir / "p", MiB(16));
  for (unsigned i = 0; i < 3; ++i)
    REQUIRE(checkpoint(std::vector<std::byte>(70'000, std::byte{1}), pool, "m"));
  const auto staged = pool.stage({.name = "half", .payload_bytes = 100}).value();
  const auto held = DirectoryChange::freeze(os, pool.path(), Deadline::after_ms(10'000)).value();
  CHECK(other_objects(*held).empty());
}
