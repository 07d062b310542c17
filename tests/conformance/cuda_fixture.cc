#include <optional>

#include "gpu/cuda_backend.h"
#include "tests/conformance/backend_fixture.h"
#include "tests/gpu/driver_under_test.h"
#include "tests/temp_dir.h"

namespace strata::inline v0_1 {
namespace {

// Memory of a device that the fake driver plays, and then it proves nothing about hardware; or of
// the machine's own (tests/gpu/driver_under_test.h).
class CudaFixture final : public BackendFixture {
 public:
  Os& os() override { return os_; }
  Backend& backend() override { return backend_; }
  SegmentUri uri(const std::string& name) override { return {"cuda", {}, name}; }

 private:
  // The driver reads what is asked of it once: the machine is there before, and for all cases.
  static std::string device_directory() {
    static std::optional<test::FakeDevices> machine;
    if (test::is_driver_fake() && !machine) machine.emplace();
    return machine ? machine->directory() : "/dev";
  }

  RealOs os_;
  test::TempDir directory_{"/dev/shm"};
  CudaBackend backend_{os_,
                       {.directory = directory_.path(),
                        .driver_library = test::driver_under_test(),
                        .device_directory = device_directory()}};
};

}  // namespace

std::unique_ptr<BackendFixture> make_fixture() { return std::make_unique<CudaFixture>(); }

}  // namespace strata::inline v0_1
