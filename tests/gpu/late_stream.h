// A stream on which nothing goes on until it is let: what a kernel is like that takes long.
//   Threads:  one.
//   Lifetime: within that of the process that has the driver; its end lets go.
#pragma once

#include <sys/mman.h>

#include <atomic>
#include <cstdint>

#include "gpu/driver.h"
#include "strata/base/bytes.h"
#include "tests/gpu/move_testing.h"

namespace strata::inline v0_1::test {

class LateStream {
 public:
  LateStream(Device& device, CuStream stream) {
    void* const page =
        ::mmap(nullptr, kPageBytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    STRATA_CHECK(page != MAP_FAILED);
    word_ = new (page) std::atomic<std::uint64_t>(0);
    const auto scope = must(device.enter());
    must(STRATA_CUDA(device.driver(), cuMemHostRegister, page, kPageBytes,
                     kHostRegisterPortable | kHostRegisterDeviceMap));
    CuDevicePointer address = 0;
    must(STRATA_CUDA(device.driver(), cuMemHostGetDevicePointer, &address, page, 0));
    must(STRATA_CUDA(device.driver(), cuStreamWaitValue64, stream, address, 1, kWaitValueGeq));
  }
  ~LateStream() { let_go(); }
  LateStream(const LateStream&) = delete;
  LateStream& operator=(const LateStream&) = delete;

  void let_go() { word_->store(1); }

 private:
  std::atomic<std::uint64_t>* word_;  // stays mapped: the stream may still look at it
};

}  // namespace strata::inline v0_1::test
