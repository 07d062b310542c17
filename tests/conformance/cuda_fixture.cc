#include "gpu/cuda_backend.h"
#include "tests/conformance/backend_fixture.h"
#include "tests/fake_cuda/fake_cuda.h"
#include "tests/temp_dir.h"

namespace strata {
namespace {

// Memory of a device that the fake driver plays: it proves nothing about hardware.
class CudaFixture final : public BackendFixture {
 public:
  Os& os() override { return os_; }
  Backend& backend() override { return backend_; }
  SegmentUri uri(const std::string& name) override { return {"cuda", {}, name}; }

 private:
  // The driver reads what is asked of it once: the machine is there before, and for all cases.
  static test::FakeDevices& machine() {
    static test::FakeDevices machine;
    return machine;
  }

  RealOs os_;
  test::TempDir directory_{"/dev/shm"};
  CudaBackend backend_{os_,
                       {.directory = directory_.path(),
                        .driver_library = test::fake_driver_path(),
                        .device_directory = machine().directory()}};
};

}  // namespace

std::unique_ptr<BackendFixture> make_fixture() { return std::make_unique<CudaFixture>(); }

}  // namespace strata
