#include "segment/fake_backend.h"
#include "tests/conformance/backend_fixture.h"

namespace strata::inline v0_1 {
namespace {

// Memory that the host only reaches by read() and write(), as that of a device.
class CopiesFixture final : public BackendFixture {
 public:
  Os& os() override { return os_; }
  Backend& backend() override { return backend_; }
  SegmentUri uri(const std::string& name) override { return {"fake", {}, name}; }
  bool has_shared_names() const override { return false; }

 private:
  RealOs os_;
  FakeBackend backend_{os_, {FakeOptions::Reach::copies}};
};

}  // namespace

std::unique_ptr<BackendFixture> make_fixture() { return std::make_unique<CopiesFixture>(); }

}  // namespace strata::inline v0_1
