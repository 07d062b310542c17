#include "strata/pmem/persistent.h"

#include <signal.h>

#include <filesystem>

#include "pmem/pmem_backend.h"
#include "pmem/pool_testing.h"
#include "tests/catch.h"

using namespace strata;
using strata::test::in_child;
using strata::test::make_pool;
using strata::test::rewrite_directory;
using strata::test::TempDir;

namespace {

struct Node {
  pmem::p<std::uint64_t> value;
  pmem::persistent_ptr<Node> next;
};

struct Root {
  pmem::p<std::uint64_t> count;
  pmem::persistent_ptr<Node> first;
};

Result<void> push(pmem::pool<Root>& pool, std::uint64_t value) {
  return pmem::transaction::run(pool, [&]() -> Result<void> {
    STRATA_ASSIGN(const auto root, pool.root());
    STRATA_ASSIGN(const auto node, pmem::make_persistent<Node>());
    node->value = value;
    node->next = root->first;
    root->first = node;
    root->count = root->count + 1;
    return {};
  });
}

std::uint64_t sum(pmem::pool<Root>& pool) {
  std::uint64_t total = 0;
  for (auto node = pool.root().value()->first; node; node = node->next)
    total += node->value;
  return total;
}

}  // namespace

TEST_CASE("a_typed_list_is_there_in_the_next_run") {
  RealOs os;
  const TempDir dir;
  {
    auto pool = pmem::pool<Root>::create(os, dir / "p", "list", MiB(8)).value();
    for (std::uint64_t i = 1; i <= 10; ++i)
      REQUIRE(push(pool, i));
  }
  auto pool = pmem::pool<Root>::open(os, dir / "p", "list").value();
  CHECK(pool.root().value()->count == 10);
  CHECK(sum(pool) == 55);
}

TEST_CASE("a_transaction_that_fails_is_undone_and_returns_its_error") {
  RealOs os;
  const TempDir dir;
  auto pool = pmem::pool<Root>::create(os, dir / "p", "list", MiB(8)).value();
  REQUIRE(push(pool, 1));
  const auto failed = pmem::transaction::run(pool, [&]() -> Result<void> {
    STRATA_TRY(push(pool, 2));
    pool.root().value()->count = 99;
    return fail(Code::exhausted, "enough");
  });
  CHECK(failed.error().code() == Code::exhausted);
  CHECK(pool.root().value()->count == 1);
  CHECK(sum(pool) == 1);
}

TEST_CASE("a_process_that_dies_within_a_transaction_leaves_nothing_of_it") {
  RealOs os;
  const TempDir dir;
  { REQUIRE(pmem::pool<Root>::create(os, dir / "p", "list", MiB(8))); }
  in_child([&] {
    auto pool = pmem::pool<Root>::open(os, dir / "p", "list").value();
    (void)push(pool, 7);
    return pmem::transaction::run(pool,
                                  [&]() -> Result<void> {
                                    pool.root().value()->count = 1000;
                                    ::raise(SIGKILL);
                                    return {};
                                  })
               ? 0
               : 1;
  });
  auto pool = pmem::pool<Root>::open(os, dir / "p", "list").value();
  CHECK(pool.root().value()->count == 1);
  CHECK(sum(pool) == 7);
}

TEST_CASE("a_pool_has_one_owner_at_a_time_and_a_root_of_one_size") {
  RealOs os;
  const TempDir dir;
  auto pool = pmem::pool<Root>::create(os, dir / "p", "list", MiB(8)).value();
  REQUIRE(pool.root());
  const auto second = pmem::pool<Root>::open(os, dir / "p", "list", Deadline::after_ms(20));
  CHECK(second.error().code() == Code::timed_out);
  CHECK(second.error().message().find(std::to_string(::getpid())) != std::string::npos);
  CHECK(pmem::make_persistent<Node>().error().code() == Code::failed_precondition);
}

TEST_CASE("a_strata_pool_can_be_owned_without_touching_its_segments") {
  RealOs os;
  const TempDir dir;
  const Pool pool = make_pool(os, dir / "p");
  PmemBackend backend(os);
  { REQUIRE(backend.create({"pmem", pool.path(), "x"}, {.payload_bytes = 100})); }
  {
    auto owned = pmem::pool<Root>::open(os, pool.path(), "strata").value();
    CHECK(owned.root().error().code() == Code::not_found);
  }
  REQUIRE(pool.make_user_root(sizeof(Root)));
  {
    auto owned = pmem::pool<Root>::open(os, pool.path(), "strata").value();
    REQUIRE(push(owned, 5));
  }
  CHECK(backend.attach({"pmem", pool.path(), "x"}, {}));
  auto owned = pmem::pool<Root>::open(os, pool.path(), "strata").value();
  CHECK(sum(owned) == 5);
}

TEST_CASE("a_strata_pool_that_this_program_may_only_read_is_not_owned") {
  RealOs os;
  const TempDir dir;
  const Pool pool = make_pool(os, dir / "p");
  REQUIRE(pool.make_user_root(sizeof(Root)));
  rewrite_directory(os, pool.path(),
                    [](DirectoryHeader& header) { header.features_read_only = 0x40; });
  const auto refused = pmem::pool<Root>::open(os, pool.path(), "strata");
  CHECK(refused.error().code() == Code::unsupported);
  CHECK(refused.error().message().find("0x40") != std::string::npos);
}

TEST_CASE("a_change_of_another_pool_within_a_transaction_is_refused_and_leaves_it_alone") {
  RealOs os;
  const TempDir dir;
  const std::string other = dir / "other";
  std::filesystem::copy_file(make_pool(os, dir / "made").path(), other);  // to be rehearsed
  auto pool = pmem::pool<Root>::create(os, dir / "own", "own", MiB(8)).value();
  REQUIRE(push(pool, 1));
  REQUIRE(pmem::transaction::run(pool, [&]() -> Result<void> {
    STRATA_ASSIGN(const auto root, pool.root());
    root->count = 7;
    for (int i = 0; i < 2; ++i) {
      const auto made = PmemBackend(os).create({"pmem", other, "x"}, {.payload_bytes = 100});
      CHECK(!made);
      CHECK(made.error().code() == Code::failed_precondition);
    }
    CHECK(root->count == 7);
    root->count = root->count + 1;
    return {};
  }));
  CHECK(pool.root().value()->count == 8);
}
