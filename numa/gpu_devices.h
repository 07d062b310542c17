// The NVIDIA GPUs of a machine and the memory node that each is near to, as the kernel tells them:
// no CUDA driver is needed.
//
//     const std::vector<GpuDevice> gpus = find_gpus(os, topology);
//     STRATA_ASSIGN(const GpuDevice gpu, choose_gpu(gpus, "gpu:0"));
//
//   Threads:  values.
//   Errors:   what the kernel does not tell stays empty: it is never a silent 0.
//   Cost:     one file of /proc for each GPU.
// The CUDA driver may count otherwise: the fastest first, and only those of CUDA_VISIBLE_DEVICES.
// Where both are meant, name a GPU by its UUID.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "numa/topology.h"
#include "strata/base/result.h"

namespace strata::inline v0_1 {

class Os;

// What the kernel's part of the NVIDIA driver tells of a GPU.
struct GpuDriverFacts {
  std::string model;         // "NVIDIA H100 80GB HBM3"
  std::string uuid;          // "GPU-12345678-…"
  std::optional<int> minor;  // N of /dev/nvidiaN
};
// Empty where that driver is not loaded.
GpuDriverFacts gpu_driver_facts(Os& os, const std::string& pci_address);

struct GpuDevice {
  int number = 0;           // in the order of PCI addresses, as nvidia-smi counts
  std::string pci_address;  // "0000:3b:00.0"
  GpuDriverFacts driver;
  // The nearest node with memory: what the platform says, or the only one that there is.
  std::optional<int> node;

  // "gpu:0 (NVIDIA H100 80GB HBM3, 0000:3b:00.0)"
  std::string describe() const;
};

// Those of `topology`, and of this machine those that only its driver tells of too.
std::vector<GpuDevice> find_gpus(Os& os, const Topology& topology);

// By number or UUID, with or without "gpu:" before it.
// Errors: not_found, with those that there are.
Result<GpuDevice> choose_gpu(const std::vector<GpuDevice>& gpus, std::string_view which);

}  // namespace strata::inline v0_1
