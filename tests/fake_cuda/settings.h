// What the environment asks of the fake driver. Read once, by the first call of a process.
//
//   STRATA_FAKE_CUDA_DIR          the state that the processes of one fake machine share: device
//                                 files and memory. A tmpfs. Else /dev/shm/fake-cuda-UID.
//   STRATA_FAKE_CUDA_DEVICES      how many devices the machine has (1)
//   STRATA_FAKE_CUDA_BYTES        of memory that each has (4 GiB)
//   STRATA_FAKE_CUDA_PEER         0: no device reaches the memory of another one (1)
//   STRATA_FAKE_CUDA_PCI          PCI addresses, with commas between (FA4E:00:00.0, …)
//   STRATA_FAKE_CUDA_ATTRIBUTES   attributes of all devices: 103=0,134=1
//   STRATA_FAKE_CUDA_FABRIC       1: fabric handles are supported (0)
//   STRATA_FAKE_CUDA_PERSISTENCE  1: memory outlives the last opener of a device file (0)
//   STRATA_FAKE_CUDA_DELAY_US     that every piece of work on a stream waits before it starts (0)
//   STRATA_FAKE_CUDA_VERSION      of the driver (13000)
//   STRATA_FAKE_CUDA_WITHOUT      calls that this driver does not have, with commas between
//   STRATA_FAKE_CUDA_FAIL         NAME:N:WHAT, with commas between: the n-th call of NAME (*: of
//                                 any) fails with the number WHAT; killed: the process is killed
//                                 instead; killed-after: once the call is done
//   STRATA_FAKE_CUDA_COUNTS       a folder where each process keeps a file of how often it called
//                                 what (fake_cuda.h reads it)
//   CUDA_VISIBLE_DEVICES          numbers or UUIDs, as the real driver takes it
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace strata::inline v0_1::fake_cuda {

struct PlannedFailure {
  std::string name;
  std::uint64_t nth = 0;
  int what = 0;  // a CUresult, or one of these
};
inline constexpr int kKilled = -1;
inline constexpr int kKilledAfter = -2;

struct Settings {
  std::string directory;
  int devices = 1;
  std::uint64_t device_bytes = std::uint64_t{4} << 30;
  bool has_peer_access = true;
  std::vector<std::string> pci_addresses;
  std::map<int, int> attributes;
  bool has_fabric = false;
  bool is_persistent = false;
  unsigned delay_us = 0;
  int version = 13000;
  std::vector<std::string> without;
  std::vector<PlannedFailure> failures;
  std::string counts_directory;
  std::optional<std::string> visible_devices;
};

const Settings& settings();

}  // namespace strata::inline v0_1::fake_cuda
