// What the fake driver has beyond the calls of a real one: the conformance table compares those.
#include "tests/fake_cuda/fake_cuda.h"

#include <fcntl.h>
#include <unistd.h>

#include <cstdlib>
#include <functional>

#include "gpu/driver.h"
#include "strata/gpu/device.h"
#include "tests/catch.h"
#include "tests/child.h"

namespace strata::inline v0_1::test {
namespace {

using namespace strata::cuda;

constexpr std::size_t kMiB = std::size_t{1} << 20;
constexpr std::size_t kBytes = 2 * kMiB;

// The driver of a child, its first device current.
struct Gpu {
  Gpu() : devices(Devices::load(fake_driver_path()).value()), scope(device().enter().value()) {}

  Device& device(std::size_t n = 0) const { return *devices->all().at(n); }
  const DriverTable& call() const { return devices->driver().call(); }
  std::uint64_t free_bytes(std::size_t n = 0) const { return device(n).free_bytes().value(); }

  CuResult create(CuAllocation* allocation, std::size_t bytes = kBytes, int device = 0) const {
    CuAllocationProperties properties{};
    properties.type = kAllocationPinned;
    properties.requested_handle_types = kHandleTypePosixFd;
    properties.location = {kLocationDevice, device};
    return call().cuMemCreate(allocation, bytes, &properties, 0);
  }
  int make_descriptor() const {
    CuAllocation allocation = 0;
    int fd = -1;
    if (create(&allocation) != kSuccess) return -1;
    call().cuMemExportToShareableHandle(&fd, allocation, kHandleTypePosixFd, 0);
    call().cuMemRelease(allocation);
    return fd;
  }
  CuResult import(int fd) const {
    CuAllocation allocation = 0;
    return call().cuMemImportFromShareableHandle(
        &allocation, reinterpret_cast<void*>(static_cast<std::intptr_t>(fd)), kHandleTypePosixFd);
  }

  std::shared_ptr<Devices> devices;
  ContextScope scope;
};

// Starts `body` in a child and returns once it has called `ready`, which blocks it.
class BlockedChild {
 public:
  explicit BlockedChild(const std::function<void()>& body) {
    int ready[2];
    REQUIRE(pipe(ready) == 0);
    child_ = start_child([&] {
      body();
      (void)!write(ready[1], "r", 1);
      pause();
    });
    close(ready[1]);
    char byte = 0;
    REQUIRE(read(ready[0], &byte, 1) == 1);
    close(ready[0]);
  }
  ~BlockedChild() { kill_child(child_); }
  BlockedChild(const BlockedChild&) = delete;
  BlockedChild& operator=(const BlockedChild&) = delete;

 private:
  pid_t child_;
};

TEST_CASE("a_fake_device_says_that_it_is_one") {
  const FakeDevices fake({.devices = 2});
  CHECK(child_says([] {
    const Gpu gpu;
    for (std::size_t n = 0; n < 2; ++n) {
      const Device& device = gpu.device(n);
      if (device.name().find("FAKE") == std::string::npos) return false;
      if (device_uuid_text(device.uuid()) != fake_device_uuid(static_cast<int>(n))) return false;
    }
    return gpu.device(0).pci_address() == "fa4e:00:00.0" &&
           gpu.device(1).pci_address() == "fa4e:01:00.0";
  }));
}

TEST_CASE("bytes_of_a_device_are_counted_across_processes_and_come_back_after_a_kill") {
  const FakeDevices fake({.device_bytes = 4 * kBytes, .more = {{"PERSISTENCE", "1"}}});
  {
    const BlockedChild holder([] {
      const Gpu gpu;
      CuAllocation kept = 0;
      gpu.create(&kept, 3 * kBytes);
    });
    CHECK(child_says([] {
      const Gpu gpu;
      CuAllocation none = 0;
      return gpu.free_bytes() == kBytes && gpu.create(&none, 2 * kBytes) == kOutOfMemory &&
             gpu.create(&none, kBytes) == kSuccess && gpu.free_bytes() == 0;
    }));
  }
  CHECK(child_says([] { return Gpu().free_bytes() == 4 * kBytes; }));
}

TEST_CASE("a_descriptor_alone_keeps_bytes_of_a_device") {
  const FakeDevices fake({.device_bytes = 4 * kBytes});
  CHECK(child_says([] {
    const Gpu gpu;
    const int fd = gpu.make_descriptor();
    const bool is_held = gpu.free_bytes() == 3 * kBytes;
    close(fd);
    return is_held && gpu.free_bytes() == 4 * kBytes;
  }));
}

// The parent holds the descriptor and makes no call of the driver.
int receive_descriptor_of_a_dead_child() {
  int pipe_of_path[2];
  REQUIRE(pipe(pipe_of_path) == 0);
  // Through a path that the parent opens while the child lives.
  const pid_t child = start_child([&] {
    const int fd = Gpu().make_descriptor();
    (void)!write(pipe_of_path[1], &fd, sizeof fd);
    pause();
  });
  int there = -1;
  REQUIRE(read(pipe_of_path[0], &there, sizeof there) == sizeof there);
  close(pipe_of_path[0]);
  close(pipe_of_path[1]);
  const std::string path = "/proc/" + std::to_string(child) + "/fd/" + std::to_string(there);
  const int fd = open(path.c_str(), O_RDWR | O_CLOEXEC);
  kill_child(child);
  return fd;
}

TEST_CASE("memory_is_lost_with_the_last_opener_of_the_device_file") {
  const FakeDevices fake;
  const int fd = receive_descriptor_of_a_dead_child();
  CHECK(child_says([&] { return Gpu().import(fd) == kInvalidValue; }));
  close(fd);
}

TEST_CASE("memory_stays_where_somebody_keeps_the_device_file_open") {
  const FakeDevices fake;
  const int device = open((fake.directory() + "/nvidia0").c_str(), O_RDONLY | O_CLOEXEC);
  REQUIRE(device >= 0);
  const int fd = receive_descriptor_of_a_dead_child();
  CHECK(child_says([&] { return Gpu().import(fd) == kSuccess; }));
  close(fd);
  close(device);
}

TEST_CASE("persistence_mode_keeps_memory_without_an_opener") {
  const FakeDevices fake({.more = {{"PERSISTENCE", "1"}}});
  const int fd = receive_descriptor_of_a_dead_child();
  CHECK(child_says([&] { return Gpu().import(fd) == kSuccess; }));
  close(fd);
}

TEST_CASE("new_memory_is_not_zero") {
  const FakeDevices fake;
  CHECK(child_says([] {
    const Gpu gpu;
    CuDevicePointer address = 0;
    std::uint64_t word = 0;
    return gpu.call().cuMemAlloc(&address, kBytes) == kSuccess &&
           gpu.call().cuMemcpyDtoH(&word, address, sizeof word) == kSuccess && word != 0;
  }));
}

TEST_CASE("the_host_cannot_touch_device_memory") {
  const FakeDevices fake;
  const int status = in_child([] {
    const Gpu gpu;
    CuDevicePointer address = 0;
    if (gpu.call().cuMemAlloc(&address, kBytes) != kSuccess) return 1;
    return static_cast<int>(*reinterpret_cast<volatile char*>(address));
  });
  CHECK(WIFSIGNALED(status));
  CHECK(WTERMSIG(status) == SIGSEGV);
}

TEST_CASE("CUDA_VISIBLE_DEVICES_chooses_and_orders") {
  const FakeDevices fake({.devices = 3});
  const auto first_uuid = [](const std::string& visible, std::size_t count) {
    return child_says([&] {
      setenv("CUDA_VISIBLE_DEVICES", visible.c_str(), 1);
      const Gpu gpu;
      return gpu.devices->all().size() == count &&
             device_uuid_text(gpu.device().uuid()) == fake_device_uuid(2);
    });
  };
  CHECK(first_uuid("2,0", 2));
  CHECK(first_uuid(fake_device_uuid(2), 1));
  CHECK(first_uuid("2,7,1", 1));
  CHECK(child_says([] {
    setenv("CUDA_VISIBLE_DEVICES", "", 1);
    const auto devices = Devices::load(fake_driver_path());
    return !devices && devices.error().code() == Code::no_device;
  }));
}

TEST_CASE("a_device_reaches_the_memory_of_another_one_only_where_it_may") {
  FakeDevices fake({.devices = 2});
  const auto can_reach = [] {
    const Gpu gpu;
    return gpu.device(1).can_reach(gpu.device(0)).value();
  };
  CHECK(child_says(can_reach));
  fake.set("PEER", "0");
  CHECK_FALSE(child_says(can_reach));
}

TEST_CASE("the_nth_call_fails_once_and_calls_are_counted") {
  FakeDevices fake({.more = {{"FAIL", "cuMemCreate:2:999"}}});
  const pid_t child = start_child([] {
    const Gpu gpu;
    CuAllocation made = 0;
    const bool failed_second = gpu.create(&made) == kSuccess && gpu.create(&made) == kUnknown &&
                               gpu.create(&made) == kSuccess;
    fail_fake_call("*", 1, kNotPermitted);
    const bool failed_any = gpu.create(&made) == kNotPermitted && gpu.create(&made) == kSuccess;
    return failed_second && failed_any && fake_calls("cuMemCreate") == 5 ? 0 : 1;
  });
  CHECK(wait_for(child) == 0);
  CHECK(fake.calls(child, "cuMemCreate") == 5);
  CHECK(fake.calls(child, "cuInit") == 1);
  CHECK(fake.calls(child, "*") > 6);
}

TEST_CASE("a_call_can_kill_before_and_after_its_work") {
  const FakeDevices fake({.more = {{"PERSISTENCE", "1"}}});
  const auto kill_in_free = [&](void (*plan)(const std::string&, std::uint64_t)) {
    CHECK(was_killed(in_child([&] {
      const Gpu gpu;
      plan("cuMemFree", 1);
      CuDevicePointer address = 0;
      gpu.call().cuMemAlloc(&address, kBytes);
      gpu.call().cuMemFree(address);
    })));
  };
  kill_in_free(kill_in_fake_call);
  kill_in_free(kill_after_fake_call);
  CHECK(child_says([] { return Gpu().free_bytes() == std::uint64_t{1} << 30; }));
}

TEST_CASE("streams_do_their_work_later") {
  const FakeDevices fake({.more = {{"DELAY_US", "50000"}}});
  CHECK(child_says([] {
    const Gpu gpu;
    CuDevicePointer address = 0;
    CuStream stream = nullptr;
    const DriverTable& call = gpu.call();
    return call.cuMemAlloc(&address, kBytes) == kSuccess &&
           call.cuStreamCreate(&stream, kStreamNonBlocking) == kSuccess &&
           call.cuMemsetD8Async(address, 1, kBytes, stream) == kSuccess &&
           call.cuStreamQuery(stream) == kNotReady &&
           call.cuStreamSynchronize(stream) == kSuccess && call.cuStreamQuery(stream) == kSuccess;
  }));
}

}  // namespace
}  // namespace strata::inline v0_1::test
