// Device memory between containers: processes in pid and network namespaces of their own share
// nothing but the directory, and the devices.

#include "gpu/descriptor_exchange.h"
#include "tests/catch.h"
#include "tests/child.h"
#include "tests/gpu/cuda_world.h"
#include "tests/skip.h"

using namespace strata;
using namespace strata::test;

namespace {

const SegmentUri kUri{"cuda", {}, "mesh"};
constexpr std::uint64_t kPatienceMs = 100'000;

bool can_have_containers() {
  return child_says([] { return enter_container() == ""; });
}

}  // namespace

TEST_CASE("containers_with_a_common_directory_share_device_memory_and_outlive_each_other") {
  if (!can_have_containers()) SKIP_TEST("this process may not make pid and network namespaces");
  CudaWorld world;
  auto first = world.keep_new(kUri, device_segment(), Access::read_write, Place::container);
  REQUIRE(first->failure() == "");
  // The pids of the two are the same number.
  auto second = world.keep_attached(kUri, {.timeout_ms = kPatienceMs}, Place::container);
  REQUIRE(second->failure() == "");
  CHECK(second->check() == "");
  first->kill();
  auto third = world.keep_attached(kUri, {.timeout_ms = kPatienceMs}, Place::container);
  REQUIRE(third->failure() == "");
  auto outside = world.keep_attached(kUri, {.timeout_ms = kPatienceMs});
  REQUIRE(outside->failure() == "");
  CHECK(third->check() == "");
  second->kill();
  third->stop();
  auto fourth = world.keep_attached(kUri, {.timeout_ms = kPatienceMs}, Place::container);
  REQUIRE(fourth->failure() == "");
  third->kill();
  CHECK(fourth->check() == "");
  CHECK(outside->end() == "");
  CHECK(fourth->end() == "");
  REQUIRE(world.tools.reclaim({}, {}));
  CHECK(world.listing().empty());
  CHECK(world.device_bytes() == 0);
}

TEST_CASE("who_pins_the_memory_is_told_across_containers") {
  if (!can_have_containers()) SKIP_TEST("this process may not make pid and network namespaces");
  CudaWorld world;
  auto inside = world.keep_new(kUri, device_segment(), Access::read_write, Place::container);
  REQUIRE(inside->failure() == "");
  auto outside = world.keep_attached(kUri, {.timeout_ms = kPatienceMs});
  REQUIRE(outside->failure() == "");
  const auto facts = world.tools.stat(kUri).value();
  const auto all = cuda::consumers(world.os, {world.directory()}, facts.identity.uuid).value();
  REQUIRE(all.size() == 2);
  CHECK(all[0].is_alive());
  CHECK(all[1].is_alive());
  CHECK(all[0].pid_namespace != all[1].pid_namespace);
  outside->kill();
  inside->kill();
  const auto left = cuda::consumers(world.os, {world.directory()}, facts.identity.uuid).value();
  for (const auto& each : left)
    CHECK(!each.is_alive());
  REQUIRE(world.tools.reclaim({}, {}));
  CHECK(world.listing().empty());
}
