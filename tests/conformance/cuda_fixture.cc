#include <filesystem>
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
  std::string why_no_children() const override {
    return "CUDA cannot be used in a process that is forked after its start: "
           "tests/gpu/cuda_kill_test "
           "and the tests of handing over start processes of their own";
  }

 private:
  // The driver reads what is asked of it once: the machine is there before, and for all cases.
  static std::string device_directory() {
    static std::optional<test::FakeDevices> machine;
    if (test::is_driver_fake() && !machine) machine.emplace();
    return machine ? machine->directory() : "/dev";
  }

  // Beside this program in a pack for other machines, else where Bazel puts it.
  static std::string holder_program() {
    const auto beside =
        std::filesystem::read_symlink("/proc/self/exe").parent_path() / "holder_fixture";
    return std::filesystem::exists(beside) ? beside.string() : "gpu/holder_fixture";
  }

  RealOs os_;
  test::TempDir directory_{"/dev/shm"};
  CudaBackend backend_{
      os_,
      {.directory = directory_.path(),
       .driver_library = test::driver_under_test(),
       .device_directory = device_directory(),
       // As `strata gpu hold`, for lifetimes that outlast the last detach.
       .holder_command = {holder_program(), directory_.path(), device_directory()}}};
};

}  // namespace

std::unique_ptr<BackendFixture> make_fixture() { return std::make_unique<CudaFixture>(); }

}  // namespace strata::inline v0_1
