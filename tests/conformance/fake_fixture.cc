#include "segment/fake_backend.h"
#include "tests/conformance/backend_fixture.h"

namespace strata::inline v0_1 {
namespace {

class FakeFixture final : public BackendFixture {
 public:
  Os& os() override { return os_; }
  Backend& backend() override { return backend_; }
  SegmentUri uri(const std::string& name) override { return {"fake", {}, name}; }
  bool has_shared_names() const override { return false; }

 private:
  RealOs os_;
  FakeBackend backend_{os_};
};

}  // namespace

std::unique_ptr<BackendFixture> make_fixture() { return std::make_unique<FakeFixture>(); }

}  // namespace strata::inline v0_1
