#include "numa/limits.h"

#include "numa/sysfs.h"
#include "os/staged_os.h"
#include "strata/base/bytes.h"
#include "tests/catch.h"
#include "tests/temp_dir.h"

using namespace strata;
using Catch::Matchers::Contains;

namespace {

constexpr const char* kMachinePool = "/sys/kernel/mm/hugepages/hugepages-2048kB/";

struct Staged {
  test::TempDir root;
  StagedOs os{root.path()};

  Staged() {
    os.put("/proc/self/cgroup", "0::/strata-test-of-no-group\n");
    os.put("/proc/meminfo", "MemTotal: 67108864 kB\nMemAvailable: 33554432 kB\nSwapFree: 0 kB\n");
    os.put("/sys/devices/system/node/has_memory", "0-1\n");
    os.put("/sys/devices/system/node/online", "0-1\n");
    allow("0-1");
  }
  void allow(const std::string& nodes) {
    os.put("/proc/self/status", "Name:\tx\nMems_allowed_list:\t" + nodes + "\nThreads:\t1\n");
  }
  void put_node(int node, std::uint64_t free_bytes) {
    const std::string name = "Node " + std::to_string(node);
    os.put("/sys/devices/system/node/node" + std::to_string(node) + "/meminfo",
           name + " MemTotal: 1048576 kB\n" + name +
               " MemFree: " + std::to_string(free_bytes / 1024) + " kB\n");
  }
  void put_pool(const std::string& directory, std::uint64_t total, std::uint64_t free,
                std::uint64_t reserved = 0, std::uint64_t overcommit = 0,
                std::uint64_t surplus = 0) {
    os.put(directory + "nr_hugepages", std::to_string(total));
    os.put(directory + "free_hugepages", std::to_string(free));
    os.put(directory + "resv_hugepages", std::to_string(reserved));
    os.put(directory + "nr_overcommit_hugepages", std::to_string(overcommit));
    os.put(directory + "surplus_hugepages", std::to_string(surplus));
  }
  bool has_room(std::uint64_t bytes, PageSize page_size = PageSize::huge_2m) {
    return check_room(os, -1, bytes, page_size).has_value();
  }
};

}  // namespace

TEST_CASE_METHOD(Staged, "every_free_huge_page_that_nobody_was_promised_can_be_had") {
  put_pool(kMachinePool, 32, 32);
  CHECK(has_room(MiB(34)));
  CHECK(has_room(MiB(64)));
  CHECK_FALSE(has_room(MiB(64) + 1));
  put_pool(kMachinePool, 32, 20, 5);
  CHECK(has_room(MiB(30)));
  const auto refused = check_room(os, -1, MiB(30) + 1, PageSize::huge_2m);
  REQUIRE(!refused);
  CHECK(refused.error().code() == Code::exhausted);
  CHECK_THAT(refused.error().message(), Contains("32 MiB (33554432 bytes) needed"));
  CHECK_THAT(refused.error().message(), Contains("30 MiB (31457280 bytes) free of 64 MiB"));
}

TEST_CASE_METHOD(Staged,
                 "huge_pages_that_the_kernel_makes_on_demand_count_until_it_has_made_them") {
  put_pool(kMachinePool, 4, 4, 0, 6);
  CHECK(has_room(MiB(20)));
  CHECK_FALSE(has_room(MiB(22)));
  put_pool(kMachinePool, 8, 4, 0, 6, 4);  // four of them are made and in use
  CHECK(has_room(MiB(12)));
  CHECK_FALSE(has_room(MiB(14)));
  put_pool(kMachinePool, 9, 1, 0, 2, 5);  // the limit was lowered meanwhile
  CHECK(has_room(MiB(2)));
  CHECK_FALSE(has_room(MiB(4)));
}

TEST_CASE_METHOD(Staged, "a_node_has_no_more_huge_pages_than_the_machine_has_left") {
  put_pool(kMachinePool, 32, 32, 30, 5);
  put_pool("/sys/devices/system/node/node1/hugepages/hugepages-2048kB/", 16, 16);
  const auto pools = huge_page_pools(os, 1);
  REQUIRE(pools.size() == 1);
  CHECK(pools[0].total_pages == 16);
  CHECK(pools[0].free_pages == 2);
  CHECK(pools[0].available_pages() == 7);
}

TEST_CASE_METHOD(Staged, "a_cpuset_counts_the_memory_of_its_own_nodes_only") {
  put_node(0, MiB(900));
  put_node(1, MiB(504));
  CHECK(has_room(MiB(900), PageSize::base));
  allow("1");
  CHECK(forbidden_nodes(os) == std::vector<int>{0});
  CHECK(has_room(MiB(504), PageSize::base));
  const auto refused = check_room(os, -1, MiB(900), PageSize::base);
  REQUIRE(!refused);
  CHECK(refused.error().code() == Code::exhausted);
  CHECK_THAT(refused.error().message(), Contains("this cpuset allows (node 1)"));
  CHECK_THAT(refused.error().message(), Contains("node 0: 900 MiB free of 1 GiB (not allowed)"));
}

TEST_CASE_METHOD(Staged, "a_cpuset_counts_the_huge_pages_of_its_own_nodes_only") {
  put_pool(kMachinePool, 16, 16);
  put_pool("/sys/devices/system/node/node0/hugepages/hugepages-2048kB/", 12, 12);
  put_pool("/sys/devices/system/node/node1/hugepages/hugepages-2048kB/", 4, 4);
  CHECK(has_room(MiB(32)));
  allow("1");
  CHECK(has_room(MiB(8)));
  CHECK_FALSE(has_room(MiB(10)));
}
