// Device segments that are kept for later use, between processes on the fake driver.
#include "strata/gpu/device_cache.h"

#include "gpu/timeline_testing.h"
#include "strata/base/bytes.h"
#include "tests/catch.h"

using namespace strata;
using namespace strata::cuda;
using namespace strata::test;

namespace {

Catalog catalog_of(const GpuScene& scene, Os& os) {
  std::vector<std::unique_ptr<Backend>> backends;
  backends.push_back(std::make_unique<CudaBackend>(os, scene.options()));
  return Catalog(std::move(backends), os);
}

}  // namespace

TEST_CASE("a_cached_open_of_device_memory_costs_no_call_of_the_driver") {
  const GpuScene scene;
  Steps steps;
  const pid_t producer = start_child([&] {
    GpuProcess process(scene, Start::create);
    steps.reach(1);
    pause();
  });
  const pid_t consumer = start_child([&] {
    steps.await(1);
    RealOs os;
    Catalog catalog = catalog_of(scene, os);
    const auto cache = DeviceCache::open(catalog, GiB(1)).value();
    (void)cache->open(kUri).value();
    const std::uint64_t calls = fake_calls("*");
    for (int i = 0; i < 1000; ++i)
      need(cache->open(kUri).value()->device_bytes().has_value(), 2);
    need(fake_calls("*") == calls, 3);
    const ImportCacheStats stats = cache->stats();
    need(stats.hits == 1000 && stats.misses == 1, 4);
    // What the allocation takes, and not what of it is the payload.
    need(stats.bytes > 4096, 5);
  });
  CHECK(exit_code(wait_for(consumer)) == 0);
  kill_child(producer);
}

TEST_CASE("a_cache_lets_go_when_another_process_removes_the_segment") {
  const bool is_in_use = GENERATE(false, true);
  const GpuScene scene;
  Steps steps;
  const pid_t consumer = start_child([&] {
    RealOs os;
    Catalog catalog = catalog_of(scene, os);
    const auto cache = DeviceCache::open(catalog, GiB(1)).value();
    {
      const Segment made = catalog.create(kUri, {.payload_bytes = 4096}).value();
      std::optional<CachedSegment> used = cache->open(kUri).value();
      if (!is_in_use) used.reset();
      if (is_in_use) {
        steps.reach(1);
        steps.await(2);
        // Who wanted it back was told that it is in use; now it is not, and the next one gets it.
        used.reset();
        need(cache->stats().entries == 0, 2);
      }
    }
    steps.reach(is_in_use ? 3 : 1);
    steps.await(4);
    need(cache->stats().entries == 0, 3);
  });
  const pid_t remover = start_child([&] {
    steps.await(1);
    RealOs os;
    Catalog catalog = catalog_of(scene, os);
    const auto removed = catalog.remove(kUri);
    if (is_in_use) {
      need(has_code(removed.error(), Code::failed_precondition), 2);
      steps.reach(2);
      steps.await(3);
      // It was the last attachment: the memory has gone with it.
      need(has_code(catalog.stat(kUri).error(), Code::not_found), 3);
    } else {
      need(removed || has_code(removed.error(), Code::not_found), 4);
    }
    steps.reach(4);
  });
  CHECK(exit_code(wait_for(remover)) == 0);
  CHECK(exit_code(wait_for(consumer)) == 0);
}
