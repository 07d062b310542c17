// Two CUDA programs share a buffer of the GPU by name: one fills it with a kernel, the other
// attaches to the same memory, without a copy, and adds it up with a kernel of its own.
//
// Built by nvcc against the installed package:
//
//     nvcc -std=c++20 share_buffer.cu $(pkg-config --cflags --libs strata) -o share_buffer
#include <cuda_runtime.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>
#include <string>

#include "strata/strata.h"

namespace {

constexpr std::uint64_t kNumbers = 1 << 20;
constexpr unsigned kThreads = 256;

__global__ void count_up(std::uint64_t* numbers) {
  const std::uint64_t i = std::uint64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (i < kNumbers) numbers[i] = i;
}

__global__ void add_up(const std::uint64_t* numbers, unsigned long long* sum) {
  const std::uint64_t i = std::uint64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (i < kNumbers) atomicAdd(sum, static_cast<unsigned long long>(numbers[i]));
}

strata::Result<void> check(cudaError_t error, const char* what) {
  if (error == cudaSuccess) return {};
  return strata::fail(strata::Code::internal, std::string(what) + ": " + cudaGetErrorString(error));
}

strata::Result<void> produce(const std::string& uri, int tell, pid_t consumer) {
  strata::Catalog catalog = strata::open_catalog();
  // Attachers wait until publish(); the kernel below writes all of it, so that no zeros need be.
  STRATA_ASSIGN(strata::Segment segment,
                catalog.create(uri, {.payload_bytes = kNumbers * sizeof(std::uint64_t),
                                     .publish = strata::Publish::by_creator,
                                     .device = {.device = "0", .is_filled_by_creator = true}}));
  STRATA_ASSIGN(const strata::DeviceSpan span, segment.device_bytes());
  // The runtime API uses the same context of the device as Strata.
  STRATA_TRY(check(cudaSetDevice(0), "cudaSetDevice"));
  count_up<<<kNumbers / kThreads, kThreads>>>(reinterpret_cast<std::uint64_t*>(span.address));
  STRATA_TRY(check(cudaGetLastError(), "count_up"));
  STRATA_TRY(segment.publish());  // waits for the kernel
  if (write(tell, "!", 1) != 1) return strata::fail(strata::Code::internal, "nobody listens");
  // The memory lives as long as anybody is attached: this is for the exit status.
  int status = 0;
  waitpid(consumer, &status, 0);
  if (status != 0) return strata::fail(strata::Code::internal, "the consumer failed");
  return {};
}

strata::Result<void> consume(const std::string& uri) {
  strata::Catalog catalog = strata::open_catalog();
  STRATA_ASSIGN(const strata::Segment segment,
                catalog.attach(uri, {.access = strata::Access::read_only, .timeout_ms = 60'000}));
  STRATA_ASSIGN(const strata::DeviceSpan span, segment.device_bytes());
  STRATA_TRY(check(cudaSetDevice(0), "cudaSetDevice"));
  unsigned long long* sum = nullptr;
  STRATA_TRY(check(cudaMallocManaged(&sum, sizeof *sum), "cudaMallocManaged"));
  *sum = 0;
  add_up<<<kNumbers / kThreads, kThreads>>>(reinterpret_cast<const std::uint64_t*>(span.address),
                                            sum);
  STRATA_TRY(check(cudaDeviceSynchronize(), "add_up"));
  const unsigned long long found = *sum;
  (void)cudaFree(sum);
  constexpr unsigned long long kExpected = kNumbers * (kNumbers - 1) / 2;
  if (found != kExpected) return strata::fail(strata::Code::corrupt, "the sum is wrong");
  std::printf("%s: the other process added up %llu\n", uri.c_str(), found);
  return {};
}

int report(const strata::Result<void>& result) {
  if (!result) std::fprintf(stderr, "%s\n", result.error().to_string().c_str());
  return result ? 0 : 1;
}

}  // namespace

int main() {
  const std::string uri = "cuda:example-" + std::to_string(getpid());
  int ends[2];
  if (pipe(ends) != 0) return 1;
  // Before anything of CUDA: what is forked after its first use cannot use it.
  const pid_t consumer = fork();
  if (consumer == 0) {
    close(ends[1]);
    char told = 0;
    // Nothing comes where the producer failed.
    if (read(ends[0], &told, 1) != 1) return 1;
    return report(consume(uri));
  }
  close(ends[0]);
  return report(produce(uri, ends[1], consumer));
}
