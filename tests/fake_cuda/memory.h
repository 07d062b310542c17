// An allocation of device memory: a file of the state directory, which lives as long as anybody has
// it open or mapped. Behind its bytes a trailer says what it is.
#pragma once

#include <cstdint>
#include <memory>

#include "tests/fake_cuda/calls.h"

namespace strata::inline v0_1::fake_cuda {

inline constexpr std::uint64_t kGranularity = std::uint64_t{2} << 20;
inline constexpr std::uint64_t kTrailerBytes = 4096;
inline constexpr int kNoDeviceFile = -1;  // memory of the host

struct Trailer {
  char magic[8];  // "FAKECUDA"
  std::uint64_t id;
  std::uint64_t bytes;
  std::int32_t device_number;  // of the machine, not of a process; kNoDeviceFile
  CuUuid device;
  std::int32_t location_type;
  std::int32_t location_id;
  std::uint32_t handle_types;
  std::uint32_t is_legacy;  // made by cuMemAlloc
  std::uint32_t is_lost;
};

class Memory {
 public:
  // `wanted` says all but magic and id. Null, with *why, where it cannot be had.
  static std::shared_ptr<Memory> create(Trailer wanted, CuResult* why);
  // Of a descriptor that somebody sent. Null where it is no living memory of the fake.
  static std::shared_ptr<Memory> adopt(int fd);
  // As a process that may open the state directory finds it, without a descriptor.
  static std::shared_ptr<Memory> find(int device_number, std::uint64_t id);
  ~Memory();
  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;

  const Trailer& facts() const { return facts_; }
  int fd() const { return fd_; }
  // Where this process, as the device, sees the bytes.
  char* bytes() const { return bytes_; }
  // What frees memory while others use it does to them.
  void poison();

 private:
  Memory() = default;
  bool map();

  int fd_ = -1;
  char* bytes_ = nullptr;
  Trailer facts_{};
};

// The memory behind `fd` is gone, whoever keeps descriptors of it.
void mark_lost(int fd);

}  // namespace strata::inline v0_1::fake_cuda
