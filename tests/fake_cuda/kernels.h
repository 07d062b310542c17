// What the fake device runs instead of a kernel: a function of the host with the kernel's name.
#pragma once

#include <cstring>
#include <string_view>
#include <vector>

#include "gpu/kernels/kernels_testing.h"
#include "tests/fake_cuda/address_space.h"

namespace strata::inline v0_1::fake_cuda {

class Launch {
 public:
  Launch(std::vector<std::uint64_t> arguments, CuDevice device, test::KernelShape shape)
      : arguments_(std::move(arguments)), device_(device), shape_(shape) {}

  // The n-th argument of the kernel, of its own type.
  template <typename T>
  T argument(std::size_t n) const {
    T value;
    std::memcpy(&value, &arguments_.at(n), sizeof value);
    return value;
  }

  // Bytes at a device address. Null where the kernel may not touch them: it then returns, and the
  // process has an illegal address.
  template <typename T>
  const T* read(CuDevicePointer address, std::uint64_t count) {
    return reinterpret_cast<const T*>(find(address, count * sizeof(T), kAccessRead));
  }
  template <typename T>
  T* write(CuDevicePointer address, std::uint64_t count) {
    return reinterpret_cast<T*>(find(address, count * sizeof(T), kAccessReadWrite));
  }
  bool has_faulted() const { return has_faulted_; }
  test::KernelShape shape() const { return shape_; }

 private:
  char* find(CuDevicePointer address, std::uint64_t bytes, int access);

  std::vector<std::uint64_t> arguments_;
  CuDevice device_;
  test::KernelShape shape_;  // of grids with one dimension
  bool has_faulted_ = false;
};

struct Kernel {
  std::string_view name;                     // of the .entry in the PTX text
  std::vector<std::size_t> parameter_bytes;  // each at most 8
  void (*run)(Launch& launch);
};

// Null: nothing stands for this kernel.
const Kernel* find_kernel(std::string_view name);

}  // namespace strata::inline v0_1::fake_cuda
