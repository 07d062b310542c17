// A segment in a pool whose persistence domain is a shadow, and beside it a second pool that holds
// what the medium would if the power failed: at every drain a test opens it as the next start
// would.
//   Threads:  one.
//   Lifetime: the segment that attach() gives must end before it.
#pragma once

#include <functional>
#include <memory>
#include <set>
#include <string>

#include "os/os.h"
#include "pmem/pmem_backend.h"
#include "segment/shadow_durability.h"
#include "strata/pmem/pool.h"
#include "tests/temp_dir.h"

namespace strata::inline v0_1::test {

class ShadowedPool {
 public:
  // What is wrong with the segment `image`, or nothing.
  using Verdict = std::function<std::string(Os& os, const SegmentUri& image)>;

  ShadowedPool(std::uint64_t payload_bytes, const ShadowOptions& options);

  // The live segment, to be called once.
  Segment attach();
  // From now on. After three different verdicts it looks at no more images.
  void watch(Verdict verdict);
  struct Outcome {
    std::uint64_t images;
    std::set<std::string> verdicts;
  };
  // One more image, and no further ones.
  Outcome finish();

 private:
  RealOs os_;
  TempDir dir_{"/dev/shm"};
  SegmentUri live_, image_;
  std::unique_ptr<ShadowDurability> shadow_;
  std::uint64_t file_offset_bytes_ = 0;
  PmemBackend backend_;
  Fd image_file_;
  std::set<std::string> verdicts_;
};

}  // namespace strata::inline v0_1::test
