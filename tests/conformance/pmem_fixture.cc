// The pmem: backend on a pool of its own on a disk.
#include "pmem/pmem_backend.h"
#include "pmem/pool_testing.h"
#include "tests/conformance/backend_fixture.h"

namespace strata::inline v0_1 {
namespace {

class PmemFixture final : public BackendFixture {
 public:
  PmemFixture()
      : path_(dir_ / "conformance.pool"),
        pool_(test::make_pool(os_, path_, MiB(64))),
        backend_(os_, {.pools = {path_}}) {}

  Os& os() override { return os_; }
  Backend& backend() override { return backend_; }
  SegmentUri uri(const std::string& name) override { return {"pmem", path_, name}; }

 private:
  RealOs os_;
  test::TempDir dir_;
  std::string path_;
  Pool pool_;
  PmemBackend backend_;
};

}  // namespace

std::unique_ptr<BackendFixture> make_fixture() { return std::make_unique<PmemFixture>(); }

}  // namespace strata::inline v0_1
