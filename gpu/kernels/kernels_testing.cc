#include "gpu/kernels/kernels_testing.h"

#include <ucontext.h>

#include <algorithm>
#include <functional>
#include <memory>
#include <mutex>
#include <vector>

#include "base/check.h"

// What the source of the kernels takes from CUDA.
namespace {

struct Index {
  unsigned x = 0;
};

Index threadIdx;
Index blockIdx;
Index blockDim;
Index gridDim;

void let_others_run();
void __syncthreads() { let_others_run(); }
void atomicMin(unsigned long long* word, unsigned long long value) {
  *word = std::min(*word, value);
}

}  // namespace

#define __global__
#define __shared__ static  // one block runs at a time
#include "gpu/kernels/kernels.cu"
#undef __global__
#undef __shared__

namespace {

constexpr std::size_t kStackBytes = 64 * 1024;

// The threads of one block.
class Block {
 public:
  Block(unsigned threads, const std::function<void()>& kernel) : kernel_(kernel) {
    for (unsigned i = 0; i < threads; ++i)
      threads_.push_back(std::make_unique<Coroutine>());
  }

  void run() {
    running_ = this;
    for (auto& thread : threads_)
      start(*thread);
    // Every thread has met as many barriers as the others when its turn comes again.
    for (bool is_any_left = true; is_any_left;) {
      is_any_left = false;
      for (current_ = 0; current_ < threads_.size(); ++current_) {
        Coroutine& thread = *threads_[current_];
        if (thread.has_ended) continue;
        threadIdx.x = current_;
        STRATA_CHECK(swapcontext(&scheduler_, &thread.context) == 0);
        is_any_left = is_any_left || !thread.has_ended;
      }
    }
    running_ = nullptr;
  }

  static void yield() {
    Block& block = *running_;
    STRATA_CHECK(swapcontext(&block.threads_[block.current_]->context, &block.scheduler_) == 0);
  }

 private:
  struct Coroutine {
    ucontext_t context{};
    bool has_ended = false;
    std::unique_ptr<std::byte[]> stack = std::make_unique_for_overwrite<std::byte[]>(kStackBytes);
  };

  void start(Coroutine& thread) {
    thread.has_ended = false;
    STRATA_CHECK(getcontext(&thread.context) == 0);
    thread.context.uc_stack.ss_sp = thread.stack.get();
    thread.context.uc_stack.ss_size = kStackBytes;
    thread.context.uc_link = &scheduler_;
    makecontext(&thread.context, &Block::body, 0);
  }

  static void body() {
    Block& block = *running_;
    const unsigned self = block.current_;
    block.kernel_();
    block.threads_[self]->has_ended = true;
  }

  static Block* running_;

  const std::function<void()>& kernel_;
  ucontext_t scheduler_{};
  unsigned current_ = 0;
  std::vector<std::unique_ptr<Coroutine>> threads_;
};

Block* Block::running_ = nullptr;

void let_others_run() { Block::yield(); }

template <typename T>
T parameter(void** parameters, unsigned index) {
  return *static_cast<T*>(parameters[index]);
}

void fill(void** p) {
  strata_fill(parameter<U64*>(p, 0), parameter<U64>(p, 1), parameter<U64>(p, 2));
}
void find_difference(void** p) {
  strata_find_difference(parameter<const U64*>(p, 0), parameter<const U64*>(p, 1),
                         parameter<U64>(p, 2), parameter<U64*>(p, 3));
}
void hash_blocks(void** p) {
  strata_hash_blocks(parameter<const Byte*>(p, 0), parameter<U64>(p, 1), parameter<U64>(p, 2),
                     parameter<U64*>(p, 3));
}

struct Kernel {
  std::string_view name;
  void (*run)(void** parameters);
  bool has_barriers;
};

constexpr Kernel kKernels[] = {
    {"strata_fill", fill, false},
    {"strata_find_difference", find_difference, false},
    {"strata_hash_blocks", hash_blocks, true},
};

const Kernel* find(std::string_view name) {
  const auto* const found = std::find_if(std::begin(kKernels), std::end(kKernels),
                                         [&](const Kernel& kernel) { return kernel.name == name; });
  return found == std::end(kKernels) ? nullptr : found;
}

}  // namespace

namespace strata::inline v0_1::test {

bool run_kernel_on_host(std::string_view name, KernelShape shape, void** parameters) {
  static std::mutex one_at_a_time;
  const Kernel* const kernel = find(name);
  if (!kernel) return false;
  const std::lock_guard lock(one_at_a_time);
  gridDim.x = shape.blocks;
  blockDim.x = shape.threads;
  if (!kernel->has_barriers) {
    for (blockIdx.x = 0; blockIdx.x < shape.blocks; ++blockIdx.x)
      for (threadIdx.x = 0; threadIdx.x < shape.threads; ++threadIdx.x)
        kernel->run(parameters);
    return true;
  }
  const std::function<void()> body = [&] { kernel->run(parameters); };
  Block block(shape.threads, body);
  for (blockIdx.x = 0; blockIdx.x < shape.blocks; ++blockIdx.x)
    block.run();
  return true;
}

}  // namespace strata::inline v0_1::test
