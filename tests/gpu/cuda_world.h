// A machine of its own for a test of "cuda:" segments: a directory of headers, and a driver. The
// test's own process never loads that driver, as its children could not use it then: what needs one
// runs in children, and what needs none is done here, by `tools`.
//
// What only the fake driver can do is skipped on that of a machine (driver_under_test.h).
//   Threads:  one.
//   Lifetime: everything that was made in it is gone with it.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "gpu/cuda_backend.h"
#include "os/os.h"
#include "strata/gpu/cuda_options.h"
#include "tests/fake_cuda/fake_cuda.h"
#include "tests/gpu/driver_under_test.h"
#include "tests/gpu/keeper.h"
#include "tests/temp_dir.h"

namespace strata::inline v0_1::test {

inline constexpr std::uint64_t kTestBytes = 100'000;

// Ends when the seconds of STRATA_TEST_SECONDS are over; without that variable never. Each step of
// a real driver takes a hundred times as long as one of the fake.
class TimeBudget {
 public:
  TimeBudget();
  bool is_limited() const { return end_.has_value(); }
  bool is_spent() const;

 private:
  std::optional<std::chrono::steady_clock::time_point> end_;
};

// STRATA_TEST_SECONDS, or `otherwise`.
double soak_seconds(double otherwise);
// STRATA_SEED, or a new one; printed.
unsigned random_seed();

class CudaWorld {
 public:
  explicit CudaWorld(const FakeMachine& machine = {});

  CudaOptions options() const;  // with the driver
  const std::string& directory() const { return directory_.path(); }

  // All names under the directory, sorted; folders end in a slash.
  std::vector<std::string> listing() const;
  // As device_bytes_here(), in a child.
  std::uint64_t device_bytes() const;

  // A process that has created `uri` with pattern() in it; it stays attached as `stays` says.
  std::unique_ptr<Keeper> keep_new(const SegmentUri& uri, const CreateOptions& options,
                                   Access stays = Access::read_write, Place place = Place::here);
  std::unique_ptr<Keeper> keep_attached(const SegmentUri& uri, const AttachOptions& options = {},
                                        Place place = Place::here);

  RealOs os;

 private:
  TempDir directory_{"/dev/shm"};
  std::optional<FakeDevices> devices_;

 public:
  CudaBackend tools;
};

// Bytes that are taken on all devices, by whomever. For children: it loads the driver. 0 on a real
// one, where others take some too.
Result<std::uint64_t> device_bytes_here(const CudaOptions& options);

CreateOptions device_segment(Publish publish = Publish::at_once);

// Creates, fills with pattern() and publishes.
Result<Segment> create_filled(Backend& backend, const SegmentUri& uri, CreateOptions options);

// How often this process has called each function of the fake driver; without those never called.
std::map<std::string, std::uint64_t> driver_calls();

}  // namespace strata::inline v0_1::test
