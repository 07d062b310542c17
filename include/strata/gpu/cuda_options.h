// Where the backend of "cuda:NAME" finds what it needs.
#pragma once

#include <string>
#include <vector>

#pragma GCC visibility push(default)
namespace strata::inline v0_1 {

struct CudaOptions {
  // Holds the headers of device segments, which are small files: a tmpfs. Empty: that of shm:.
  std::string directory = {};
  // The CUDA driver; empty: libcuda.so.1, as the loader finds it.
  std::string driver_library = {};
  // Where the device files /dev/nvidiaN are; a holder keeps one open.
  std::string device_directory = "/dev";
  // How to start a program that holds a segment when nobody else is attached; the URI is added to
  // it. Lifetimes that outlast the last detach need it: {"strata", "gpu", "hold"}.
  std::vector<std::string> holder_command = {};
};

}  // namespace strata::inline v0_1
#pragma GCC visibility pop
