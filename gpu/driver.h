// The CUDA driver of this process, found at run time: nothing links it, and one binary runs with
// and without it.
//
//     STRATA_ASSIGN(const std::shared_ptr<const Driver> driver, Driver::load({}));
//     STRATA_TRY(STRATA_CUDA(*driver, cuMemRelease, allocation));
//
//   Threads:  any.
//   Lifetime: a loaded driver stays for the life of the process, which can hold only one.
//   Errors:   load: no_driver (none found, the toolkit's stub, older than 12.0, or failing to
//             start), no_device. Calls: the code follows from the CUresult, which
//             Status::driver_result() keeps. In a process that was forked after the driver was
//             started every call fails: failed_precondition.
//   Cost:     the first load starts the driver (some 100 ms on a machine with a GPU); the next ones
//             are a lock.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "gpu/driver_abi.h"
#include "strata/base/result.h"

namespace strata::inline v0_1::cuda {

// What optional calls of the driver let us do.
enum class DriverFeature : std::uint8_t {
  virtual_memory,  // allocations behind descriptors
  legacy_ipc,
  stream_values,  // streams that wait for a word of memory, and write one
  kernels,
};

class Driver {
 public:
  // `library`: a file; empty: libcuda.so.1, as the loader finds it. The first load of a process
  // decides: a later one of another file is failed_precondition.
  static Result<std::shared_ptr<const Driver>> load(const std::string& library);

  // What the library says of itself, 12040 of 12.4; the driver is not started for it.
  // Errors: no_driver.
  static Result<int> installed_version(const std::string& library);

  const DriverTable& call() const { return table_; }
  int version() const { return version_; }  // 12040 is 12.4
  const std::string& library() const { return library_; }
  // Errors: unsupported, with the calls that this driver lacks.
  Result<void> require(DriverFeature feature) const;

  // Success, or the Status of a failed call. `what` is the name of the call.
  Result<void> check(CuResult result, std::string_view what) const;
  // This process may not use the driver: it was forked after the driver was started.
  bool is_forked() const;
  // For destructors: an error here has no one to go to, and at the end of the process the driver
  // may be gone already (CUDA_ERROR_DEINITIALIZED).
  bool is_usable() const { return !is_forked(); }

 private:
  friend struct DriverLoader;
  Driver() = default;

  DriverTable table_;
  std::string library_;
  int version_ = 0;
  pid_t pid_ = 0;
};

}  // namespace strata::inline v0_1::cuda

// A call of the driver, as a Result<void>.
#define STRATA_CUDA(driver, name, ...) ((driver).check((driver).call().name(__VA_ARGS__), #name))
