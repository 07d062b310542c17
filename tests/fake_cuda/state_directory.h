// The folder that the processes of one fake machine share: device files nvidiaN as in /dev, and a
// file for each allocation, since a file is what a descriptor can stand for.
//   Threads: any.
//   Who lives is asked of the kernel (F_SETLEASE tells whether others have a file open, mappings
//   and descriptors under way included), so nothing here is wrong after a kill.
#pragma once

#include <cstdint>
#include <string>

namespace strata::inline v0_1::fake_cuda {

// Makes the folder and its files for `devices` devices. False where that fails.
bool prepare_state_directory(int devices);

std::string device_file(int device);
std::string memory_file(int device, std::uint64_t id);

// Holds all processes of the machine off.
class MachineLock {
 public:
  MachineLock();
  ~MachineLock();
  MachineLock(const MachineLock&) = delete;
  MachineLock& operator=(const MachineLock&) = delete;

 private:
  int fd_;
};

// Keeps the device file open for the life of this process. Where nobody had it open, the memory of
// the device is lost first, as the real driver loses it without persistence mode.
void open_device_file(int device);

// Bytes of the device's memory that live, whoever keeps them. Takes away what nobody keeps.
// Requires a MachineLock.
std::uint64_t count_used_bytes(int device);

}  // namespace strata::inline v0_1::fake_cuda
