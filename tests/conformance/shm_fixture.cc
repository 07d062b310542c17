#include <unistd.h>

#include <filesystem>

#include "shm/shm_backend.h"
#include "tests/conformance/backend_fixture.h"
#include "tests/temp_dir.h"

namespace strata::inline v0_1 {
namespace {

class ShmFixture final : public BackendFixture {
 public:
  Os& os() override { return os_; }
  Backend& backend() override { return backend_; }
  SegmentUri uri(const std::string& name) override { return {"shm", {}, name}; }

 private:
  RealOs os_;
  test::TempDir directory_{"/dev/shm"};
  ShmBackend backend_{
      os_, {.directory = directory_.path(), .huge_2m_directory = {}, .huge_1g_directory = {}}};
};

}  // namespace

std::unique_ptr<BackendFixture> make_fixture() { return std::make_unique<ShmFixture>(); }

}  // namespace strata::inline v0_1
