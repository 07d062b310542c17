#include "numa/gpu_devices.h"

#include "numa/plan.h"
#include "os/staged_os.h"
#include "tests/catch.h"
#include "tests/temp_dir.h"

using namespace strata;

namespace {

constexpr const char* kFirstUuid = "GPU-11111111-2222-3333-4444-55555555abcd";

// A made-up machine with two GPUs among its devices.
struct Machine {
  test::TempDir root;
  StagedOs os{root.path()};
  int nodes = 2;

  void put_device(const std::string& address, const char* device_class, const char* vendor,
                  const char* node) {
    const std::string at = "/sys/bus/pci/devices/" + address + "/";
    os.put(at + "class", device_class);
    os.put(at + "vendor", vendor);
    os.put(at + "numa_node", node);
  }

  void put_driver(const std::string& address, const std::string& uuid, const char* minor) {
    os.put("/proc/driver/nvidia/gpus/" + address + "/information",
           "Model: \t\t NVIDIA H100 80GB HBM3\nIRQ:   \t\t 98\nGPU UUID: \t " + uuid +
               "\nBus Type: \t PCIe\nDevice Minor: \t " + minor + "\nGPU Excluded:\t No\n");
  }

  std::vector<GpuDevice> gpus() {
    os.put("/proc/self/status", "Mems_allowed_list:\t0-1\n");
    const std::string shape = "node:" + std::to_string(nodes) + " core:2 pu:1";
    return find_gpus(os, Topology::with_machine_facts(os, *Topology::from_synthetic(shape)));
  }
};

}  // namespace

TEST_CASE("gpus_are_found_without_any_driver_and_counted_by_their_address") {
  Machine machine;
  machine.put_device("0000:b7:00.0", "0x030200\n", "0x10de\n", "1\n");
  machine.put_device("0000:3b:00.0", "0x030000\n", "0x10de\n", "0\n");
  machine.put_device("0000:00:02.0", "0x030000\n", "0x8086\n", "0\n");  // another maker's display
  machine.put_device("0000:3b:00.1", "0x040300\n", "0x10de\n", "0\n");  // the sound of a GPU
  const auto gpus = machine.gpus();
  REQUIRE(gpus.size() == 2);
  CHECK(gpus[0].pci_address == "0000:3b:00.0");
  CHECK(gpus[0].node == 0);
  CHECK(gpus[0].driver.uuid.empty());
  CHECK_FALSE(gpus[0].driver.minor);
  CHECK(gpus[1].node == 1);
  CHECK(choose_gpu(gpus, "gpu:1").value().pci_address == "0000:b7:00.0");
  CHECK(choose_gpu(gpus, "0").value().pci_address == "0000:3b:00.0");
}

TEST_CASE("a_gpu_is_found_by_the_uuid_that_its_kernel_driver_tells") {
  Machine machine;
  machine.put_device("0000:3b:00.0", "0x030200\n", "0x10de\n", "0\n");
  machine.put_driver("0000:3b:00.0", kFirstUuid, "3");
  const auto gpus = machine.gpus();
  REQUIRE(gpus.size() == 1);
  CHECK(gpus[0].driver.model == "NVIDIA H100 80GB HBM3");
  CHECK(gpus[0].driver.minor == 3);
  CHECK(choose_gpu(gpus, kFirstUuid).value().number == 0);
  CHECK(choose_gpu(gpus, "gpu:GPU-11111111-2222-3333-4444-55555555ABCD").value().number == 0);
  CHECK_FALSE(choose_gpu(gpus, "GPU-11111111-2222-3333-4444-555555550000"));
}

TEST_CASE("a_gpu_that_only_the_kernel_driver_shows_is_found_too") {
  Machine machine;
  machine.put_driver("0000:3b:00.0", "GPU-" + std::string(32, '?'), "0");
  const auto gpus = machine.gpus();
  REQUIRE(gpus.size() == 1);
  CHECK(gpus[0].driver.uuid.empty());
  CHECK_FALSE(gpus[0].node);
}

TEST_CASE("an_unknown_nearest_node_stays_unknown_unless_there_is_only_one") {
  Machine machine;
  machine.put_device("0000:3b:00.0", "0x030200\n", "0x10de\n", "-1\n");
  CHECK_FALSE(machine.gpus().at(0).node);
  machine.nodes = 1;
  CHECK(machine.gpus().at(0).node == 0);
}

TEST_CASE("who_asks_for_a_gpu_that_is_not_there_hears_which_are") {
  Machine machine;
  machine.put_device("0000:3b:00.0", "0x030200\n", "0x10de\n", "0\n");
  const auto gpus = machine.gpus();
  const auto third = choose_gpu(gpus, "gpu:2");
  REQUIRE_FALSE(third);
  CHECK(third.error().code() == Code::not_found);
  CHECK(third.error().message().find("there is gpu:0 (0000:3b:00.0)") != std::string::npos);
  // Not "no such UUID", which nobody here can know.
  CHECK(choose_gpu(gpus, kFirstUuid).error().message().find("by its number") != std::string::npos);
  CHECK(choose_gpu({}, "0").error().message().find("shows no NVIDIA GPU") != std::string::npos);
  CHECK_FALSE(choose_gpu(gpus, ""));
  CHECK_FALSE(choose_gpu(gpus, "-1"));
}

TEST_CASE("memory_near_a_gpu_of_a_captured_machine_is_planned_on_its_node") {
  RealOs os;
  const Topology topology = Topology::load(os, "numa/testdata/two_nodes_gpus.xml").value();
  const GpuDevice second = choose_gpu(find_gpus(os, topology), "gpu:1").value();
  CHECK(second.node == 1);
  Placement near;
  near.kind = Placement::Kind::near_pci;
  near.pci_address = second.pci_address;
  near.is_strict = true;
  CHECK(make_plan(topology, near, 1 << 20, PageSize::base, 0).value().nodes == std::vector{1});
}
