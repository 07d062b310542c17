#include "numa/topology.h"

#include <cstdlib>
#include <fstream>

#include "numa/plan.h"
#include "numa/sysfs.h"
#include "os/fault_os.h"
#include "os/staged_os.h"
#include "strata/numa/placement_text.h"
#include "tests/catch.h"
#include "tests/temp_dir.h"

using namespace strata;

namespace {

Topology captured(const std::string& name) {
  RealOs os;
  auto topology = Topology::load(os, "numa/testdata/" + name);
  REQUIRE(topology);
  return *std::move(topology);
}

std::vector<int> plan_nodes(const Topology& topology, const char* placement, int cpu) {
  return make_plan(topology, parse_placement(placement).value(), 1 << 20, PageSize::base, cpu)
      .value()
      .nodes;
}

// Two nodes, of which a cpuset allows the second.
struct Confined {
  test::TempDir root;
  StagedOs os{root.path()};

  Topology topology() {
    os.put("/proc/self/status", "Mems_allowed_list:\t1\n");
    os.put("/proc/meminfo", "MemTotal: 2097152 kB\nMemAvailable: 1468416 kB\n");
    os.put("/sys/devices/system/node/has_memory", "0-1\n");
    os.put("/sys/devices/system/node/node0/cpulist", "0-1\n");
    os.put("/sys/devices/system/node/node1/cpulist", "2-3\n");
    os.put("/sys/devices/system/node/node0/meminfo", "Node 0 MemFree: 952320 kB\n");
    os.put("/sys/devices/system/node/node1/meminfo", "Node 1 MemFree: 516096 kB\n");
    os.put("/sys/bus/pci/devices/0000:3b:00.0/class", "0x030200\n");
    os.put("/sys/bus/pci/devices/0000:3b:00.0/numa_node", "0\n");
    return Topology::with_machine_facts(os, captured("two_nodes_gpus.xml"));
  }
};

Result<Plan> plan_of(const Topology& topology, const char* placement, std::uint64_t bytes) {
  return make_plan(topology, parse_placement(placement).value(), bytes, PageSize::base, 2);
}

}  // namespace

TEST_CASE("a_synthetic_description_has_nodes_with_processors_and_no_guessed_facts") {
  const Topology topology = Topology::from_synthetic("node:2 core:2 pu:1").value();
  REQUIRE(topology.nodes().size() == 2);
  CHECK(topology.nodes()[1].cpus == std::vector<int>{2, 3});
  CHECK(topology.nodes()[0].memory_bytes > 0);
  CHECK_FALSE(topology.nodes()[0].free_bytes);
  CHECK_FALSE(topology.nodes()[0].bandwidth_mb_per_s);
  CHECK_FALSE(topology.nodes()[0].latency_ns);
  CHECK(topology.nodes()[0].capacity_bytes);
  CHECK(topology.pci_devices().empty());
  CHECK_FALSE(topology.is_this_machine());
  CHECK(topology.node_of_cpu(3) == 1);
  CHECK_FALSE(topology.node_of_cpu(99));
}

TEST_CASE("load_tells_a_file_from_a_description_by_looking") {
  RealOs os;
  CHECK(Topology::load(os, "node:3 pu:1").value().nodes().size() == 3);
  CHECK(Topology::load(os, "numa/testdata/cxl_node.xml").value().nodes().size() == 3);
  const auto neither = Topology::load(os, "no/such/file.xml");
  REQUIRE(!neither);
  CHECK(neither.error().code() == Code::invalid_argument);
  const std::string broken = std::string(std::getenv("TEST_TMPDIR")) + "/broken.xml";
  std::ofstream(broken) << "<topology><object type=";
  const auto damaged = Topology::load(os, broken);
  REQUIRE(!damaged);
  CHECK(damaged.error().code() == Code::corrupt);
}

TEST_CASE("devices_are_near_to_the_node_of_their_package_and_unknown_stays_unknown") {
  const Topology topology = captured("two_nodes_gpus.xml");
  REQUIRE(topology.pci_devices().size() == 3);
  CHECK(topology.find_pci_device("0000:3b:00.0")->node == 0);
  CHECK(topology.find_pci_device("b7:00.0")->node == 1);
  CHECK(topology.find_pci_device("b7:00.0")->class_code == 0x0302);
  CHECK(topology.find_pci_device("b7:00.0")->vendor == 0x10de);
  CHECK_FALSE(topology.find_pci_device("01:00.0")->node);
  CHECK(topology.find_pci_device("ff:00.0") == nullptr);
  CHECK(topology.distance(0, 1) == 21);
  CHECK(topology.distance(1, 1) == 10);
  CHECK_FALSE(topology.distance(0, 5));
  CHECK(plan_nodes(topology, "near-pci:0000:b7:00.0!", 0) == std::vector<int>{1});
}

TEST_CASE("high_bandwidth_nodes_are_memory_only_and_chosen_by_their_bandwidth") {
  const Topology topology = captured("hbm_and_dram.xml");
  REQUIRE(topology.nodes().size() == 4);
  CHECK_FALSE(topology.find_node(0)->is_memory_only());
  CHECK(topology.find_node(2)->is_memory_only());
  CHECK(topology.find_node(2)->kind == "HBM");
  CHECK(topology.find_node(2)->near_cpus == std::vector<int>{0, 1});
  CHECK(topology.find_node(2)->bandwidth_mb_per_s == 200'000);
  CHECK(topology.find_node(2)->latency_ns == 120);
  CHECK_FALSE(topology.find_node(3)->latency_ns);
  CHECK(topology.find_pci_device("3b:00.0")->node == 0);
  // The nearer of two equal ones.
  CHECK(plan_nodes(topology, "tier:bandwidth", 0) == std::vector<int>{2});
  CHECK(plan_nodes(topology, "tier:bandwidth", 3) == std::vector<int>{3});
  CHECK(plan_nodes(topology, "tier:latency", 3) == std::vector<int>{1});
}

TEST_CASE("a_file_of_a_newer_lstopo_is_read_like_one_of_this_version") {
  RealOs os;
  std::string text = os.read_file("numa/testdata/hbm_and_dram.xml").value();
  text.replace(text.find("version=\"2.0\""), 13, "version=\"3.0\"");
  const std::string path = std::string(std::getenv("TEST_TMPDIR")) + "/newer.xml";
  std::ofstream(path) << text;
  const auto topology = Topology::load(os, path);
  REQUIRE(topology);
  CHECK(topology->find_node(2)->bandwidth_mb_per_s == 200'000);
}

TEST_CASE("a_cxl_node_is_a_memory_node_and_never_local") {
  const Topology topology = captured("cxl_node.xml");
  const MemoryNode& far = *topology.find_node(2);
  CHECK(far.is_memory_only());
  CHECK(far.capacity_bytes == std::uint64_t{256} << 30);
  CHECK_FALSE(topology.find_node(1)->is_memory_only());
  CHECK(topology.memory_near_cpu(3) == 1);
  CHECK_FALSE(topology.find_pci_device("11:00.0")->node);
  CHECK(plan_nodes(topology, "tier:capacity!", 0) == std::vector<int>{2});
  CHECK(plan_nodes(topology, "local", 0) == std::vector<int>{0});
}

TEST_CASE("this_machine_has_a_node_with_memory_and_processors") {
  RealOs os;
  const Topology topology = Topology::from_machine(os).value();
  REQUIRE(!topology.nodes().empty());
  CHECK(topology.is_this_machine());
  const auto cpu = os.current_cpu();
  REQUIRE(cpu);
  const auto near = topology.memory_near_cpu(*cpu);
  REQUIRE(near);
  CHECK(topology.find_node(*near)->memory_bytes > 0);
  CHECK(topology.find_node(*near)->free_bytes);
}

TEST_CASE_METHOD(Confined, "the_one_node_that_a_cpuset_allows_has_its_own_free_bytes") {
  const Topology confined = topology();
  REQUIRE(confined.nodes().size() == 1);
  CHECK(confined.nodes()[0].node == 1);
  CHECK(confined.nodes()[0].free_bytes == std::uint64_t{504} << 20);
  CHECK(confined.forbidden_nodes() == std::vector<int>{0});
  CHECK(confined.distance(1, 1) == 10);
  const auto strict = plan_of(confined, "node:1!", std::uint64_t{900} << 20);
  REQUIRE(!strict);
  CHECK(strict.error().code() == Code::exhausted);
  const Plan local = plan_of(confined, "local", 1 << 20).value();
  CHECK(local.nodes == std::vector<int>{1});
  CHECK(local.has_choice());  // for whoever is not confined and touches a page first
}

TEST_CASE_METHOD(Confined, "a_node_that_a_cpuset_forbids_is_refused_as_that_and_not_as_missing") {
  const Topology confined = topology();
  for (const char* placement : {"node:0", "preferred:0,1", "interleave:0,1"}) {
    const auto plan = plan_of(confined, placement, 1 << 20);
    REQUIRE(!plan);
    CHECK(plan.error().to_string().starts_with(
        "permission_denied: node 0 is not allowed by this cpuset (allowed: 1)"));
  }
  CHECK(plan_of(confined, "node:7", 1 << 20).error().message() ==
        "node 7 does not exist; there is one: 1");
  const auto strict = plan_of(confined, "near-pci:3b:00.0!", 1 << 20);
  REQUIRE(!strict);
  CHECK(strict.error().code() == Code::permission_denied);
  const Plan plan = plan_of(confined, "near-pci:3b:00.0", 1 << 20).value();
  CHECK(plan.nodes == std::vector<int>{1});
  CHECK(plan.reasons[0].find("not allowed by this cpuset") != std::string::npos);
}

TEST_CASE("a_machine_that_tells_nothing_is_still_one_with_memory") {
  FaultOs os;
  os.fail_at(1, ENOENT, 1'000'000);
  const auto topology = Topology::from_machine(os);
  REQUIRE(topology);
  CHECK(!topology->nodes().empty());
  CHECK_FALSE(topology->nodes()[0].free_bytes);
  CHECK(topology->nodes()[0].huge_page_pools.empty());
  CHECK(topology->pci_devices().empty());
}

TEST_CASE("every_failing_read_of_this_machine_is_survived") {
  FaultOs os;
  REQUIRE(Topology::from_machine(os));
  const std::uint64_t calls = os.calls();
  CHECK(calls > 0);
  for (std::uint64_t n = 1; n <= std::min<std::uint64_t>(calls, 60); ++n) {
    os.reset();
    os.fail_at(n, EACCES);
    CHECK(Topology::from_machine(os));
  }
}

TEST_CASE("the_kernels_lists_and_tables_are_read_exactly") {
  CHECK(parse_number_list("0-2,7\n") == std::vector<int>{0, 1, 2, 7});
  CHECK(parse_number_list("").empty());
  CHECK(parse_number_list("3-1").empty());
  CHECK(parse_number_list("0-99999999").empty());
  CHECK(parse_number(" 12 kB") == 12);
  CHECK_FALSE(parse_number("max"));
  CHECK_FALSE(parse_number("-1"));
  CHECK(meminfo_bytes("Node 0 MemFree:  3 kB\n", "MemFree") == 3072);
  CHECK(meminfo_bytes("HugeMemFree: 9 kB\nMemFree: 1 kB\n", "MemFree") == 1024);
  CHECK_FALSE(meminfo_bytes("MemFreeX: 1 kB\n", "MemFree"));
  CHECK(chosen_word("always [never] deny") == "never");
  CHECK(chosen_word("nothing").empty());
}
