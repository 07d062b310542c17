// Kernels fill, compare and hash memory of a device where it is, without a copy to the host.
//
//     STRATA_ASSIGN(const std::shared_ptr<Kernels> kernels, Kernels::of(device));
//     STRATA_ASSIGN(const ContentHash hash, kernels->content_hash(span, stream, deadline));
//
//   Threads:  any.
//   Lifetime: loaded once for each device, for the life of the process. A span, and the memory
//             behind it, must stay until the stream has come past what was asked of it.
//   Errors:   unsupported where the driver has no modules; invalid_argument where an address is no
//             multiple of 8; timed_out at the deadline: the work goes on in the stream.
//             Otherwise as the calls of the driver.
//   Cost:     the first use of a device compiles the kernels (some 10 ms, once in a while: the
//             driver keeps what it compiled). Then a launch; what has a result also waits for it.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "strata/base/result.h"
#include "strata/gpu/device.h"
#include "strata/gpu/device_event.h"
#include "strata/os/deadline.h"
#include "strata/segment/content_hash.h"
#include "strata/segment/device_span.h"

#pragma GCC visibility push(default)
namespace strata::inline v0_1::cuda {

class Kernels {
 public:
  static Result<std::shared_ptr<Kernels>> of(Device& device);
  ~Kernels();
  Kernels(const Kernels&) = delete;
  Kernels& operator=(const Kernels&) = delete;

  // Repeats the eight bytes of `value`, little endian. Returns at once: it is work of the stream.
  Result<void> fill(const DeviceSpan& to, std::uint64_t value, CuStream stream);

  // The least offset at which two spans of equal size differ; nothing where they are equal.
  Result<std::optional<std::uint64_t>> find_difference(const DeviceSpan& a, const DeviceSpan& b,
                                                       CuStream stream, Deadline deadline);

  // What hash_long() (base/long_hash.h) gives for every `block_bytes` bytes, the last of which may
  // be fewer: the checksums of a pool. Blocks are hashed side by side.
  // Errors: invalid_argument unless block_bytes is a multiple of 8 and 1024 or more.
  Result<std::vector<std::uint64_t>> block_checksums(const DeviceSpan& bytes,
                                                     std::uint64_t block_bytes, CuStream stream,
                                                     Deadline deadline);

  // What content_hash() gives. The hash is one chain, which a small part of the device computes:
  // slower than the checksums of blocks.
  Result<ContentHash> content_hash(const DeviceSpan& bytes, CuStream stream, Deadline deadline);

 private:
  // Memory for the results of one launch, of the device and of the host, and when they are there.
  struct Scratch {
    CuDevicePointer device = 0;
    void* host = nullptr;
    std::uint64_t bytes = 0;
    DeviceEvent landed;
  };
  class Loan;
  struct Halves {
    std::uint64_t low;
    std::uint64_t high;
  };

  explicit Kernels(Device& device) : device_(device), driver_(device.driver()) {}
  Result<void> load();
  Result<void> launch(CuFunction function, unsigned blocks, unsigned threads, void** parameters,
                      CuStream stream);
  // Copies from the device into the loan's host memory and waits until it is there.
  Result<void> fetch(Loan& loan, CuDevicePointer from, std::uint64_t bytes, CuStream stream,
                     Deadline deadline);
  Result<Loan> borrow(std::uint64_t bytes);
  Result<Scratch> make_scratch(std::uint64_t bytes);
  void give_back(Scratch scratch);
  void give_up(Scratch scratch);
  // Whether nothing of it is left; else it is called again.
  bool free(Scratch& scratch);
  Result<std::vector<std::byte>> to_host(std::uint64_t address, std::uint64_t bytes,
                                         CuStream stream, Deadline deadline);
  Result<std::vector<Halves>> hash_blocks(const DeviceSpan& bytes, std::uint64_t block_bytes,
                                          CuStream stream, Deadline deadline);

  Device& device_;
  const Driver& driver_;
  CuModule module_ = nullptr;
  CuFunction fill_ = nullptr;
  CuFunction find_difference_ = nullptr;
  CuFunction hash_blocks_ = nullptr;
  std::mutex mutex_;
  std::vector<Scratch> idle_;  // for the next launches
};

}  // namespace strata::inline v0_1::cuda
#pragma GCC visibility pop
