// The fake driver, as tests use it. settings.h has what the environment can ask of it.
//
//     const FakeDevices fake({.devices = 2});           // before the first child is forked
//     in_child([&] { … CudaOptions{.driver_library = fake_driver_path()} … });
//
//   Threads:  before others are started: it sets the environment.
//   Lifetime: a process loads one driver, and a process that was forked after cuInit can use none;
//             so the test itself loads none, and each child does for itself.
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "tests/temp_dir.h"

namespace strata::inline v0_1::test {

// A file libcuda.so.1, from the runfiles of a test or a benchmark. Absolute.
std::string fake_driver_path();
// The folder that holds it: for LD_LIBRARY_PATH of commands.
std::string fake_driver_directory();

struct FakeMachine {
  int devices = 1;
  std::uint64_t device_bytes = std::uint64_t{1} << 30;
  // More variables, without STRATA_FAKE_CUDA_: {{"DELAY_US", "100"}}.
  std::map<std::string, std::string> more = {};
};

// A machine of its own: its state and device files are in a temporary folder. Children that are
// started while this lives are on it.
class FakeDevices {
 public:
  explicit FakeDevices(FakeMachine machine = {});
  ~FakeDevices();
  FakeDevices(const FakeDevices&) = delete;
  FakeDevices& operator=(const FakeDevices&) = delete;

  // Holds nvidia0, … : CudaOptions::device_directory.
  const std::string& directory() const { return directory_.path(); }
  // STRATA_FAKE_CUDA_NAME; an empty value takes it away. For children that are started afterwards.
  void set(const std::string& name, const std::string& value);
  // How often a process called what (*: all), from the file that it keeps; 0 for a process that
  // called nothing.
  std::uint64_t calls(pid_t process, const std::string& name) const;

 private:
  TempDir directory_;
  std::map<std::string, std::string> before_;
};

// What this device is called by clients: GPU-46414b45-….
std::string fake_device_uuid(int number);

// For a process that has loaded the fake itself. Absent library: aborts. A look at an event or a
// stream that is not ready counts for nothing: their number is a matter of time.
std::uint64_t fake_calls(const std::string& name);
// The n-th call of `name` (*: of any) from now on fails with this CUresult.
void fail_fake_call(const std::string& name, std::uint64_t nth, int result);
// It kills the process instead, before or after the call does its work.
void kill_in_fake_call(const std::string& name, std::uint64_t nth);
void kill_after_fake_call(const std::string& name, std::uint64_t nth);
void forget_fake_failures();

}  // namespace strata::inline v0_1::test
