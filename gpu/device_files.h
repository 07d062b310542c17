// The driver's file of one device, kept open: when the last process that has it open leaves, and
// the driver is not in persistence mode, the device is shut down and all memory on it is lost,
// whatever descriptors of it are still open.
//   Threads:  any.
//   Lifetime: as long as the Fds.
//   Errors:   none stops a holder: what could not be opened is said in `note`.
//   Cost:     some system calls; no call of the driver.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "os/os.h"

namespace strata::inline v0_1::cuda {

struct DeviceFiles {
  std::vector<Fd> open;
  // What is open, or why nothing is and what that means; for people.
  std::string note;
};

// /dev/nvidiaN of the device at `pci_address` ("0000:3b:00.0"), under `device_directory`. Where
// /proc/driver/nvidia does not tell the N (containers hide it): all that can be opened.
DeviceFiles open_device_files(Os& os, const std::string& device_directory,
                              std::string_view pci_address);

}  // namespace strata::inline v0_1::cuda
