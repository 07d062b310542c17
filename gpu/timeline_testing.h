// What tests and benchmarks of timelines share: a process with a device segment, on the fake
// driver.
#pragma once

#include <sys/mman.h>

#include <atomic>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "gpu/cuda_backend.h"
#include "gpu/cuda_payload.h"
#include "gpu/driver.h"
#include "strata/gpu/timeline.h"
#include "strata/segment/catalog.h"
#include "tests/child.h"
#include "tests/fake_cuda/fake_cuda.h"
#include "tests/temp_dir.h"

namespace strata::inline v0_1::test {

inline constexpr const char* kUri = "cuda:timeline";
inline Deadline soon() { return Deadline::after_ms(240'000); }

// The machine and the folder of headers. Made before the first child is forked.
struct GpuScene {
  explicit GpuScene(FakeMachine machine = {}) : fake(std::move(machine)) {}
  FakeDevices fake;
  TempDir headers{"/dev/shm"};
  CudaOptions options() const {
    return {.directory = headers.path(),
            .driver_library = fake_driver_path(),
            .device_directory = fake.directory()};
  }
};

enum class Start : std::uint8_t { create, attach };

// One process of a scene; made in a child, after the fork.
class GpuProcess {
 public:
  GpuProcess(const GpuScene& scene, Start start,
             std::shared_ptr<Os> os = std::make_shared<RealOs>())
      : catalog_(backends(*os, scene), os),
        segment_(open(start)),
        device_(CudaPayload::of(segment_).value()->device()) {}

  Catalog& catalog() { return catalog_; }
  Segment& segment() { return segment_; }
  cuda::Device& device() { return device_; }
  const cuda::Driver& driver() { return device_.driver(); }
  cuda::Timeline timeline() { return cuda::Timeline::open(segment_).value(); }

  cuda::CuStream make_stream() {
    const cuda::ContextScope scope = device_.enter().value();
    cuda::CuStream stream = nullptr;
    STRATA_CHECK(
        STRATA_CUDA(driver(), cuStreamCreate, &stream, cuda::kStreamNonBlocking).has_value());
    return stream;
  }
  bool synchronize(cuda::CuStream stream) {
    const cuda::ContextScope scope = device_.enter().value();
    return STRATA_CUDA(driver(), cuStreamSynchronize, stream).has_value();
  }

 private:
  static std::vector<std::unique_ptr<Backend>> backends(Os& os, const GpuScene& scene) {
    std::vector<std::unique_ptr<Backend>> made;
    made.push_back(std::make_unique<CudaBackend>(os, scene.options()));
    return made;
  }
  Segment open(Start start) {
    auto opened = start == Start::create ? catalog_.create(kUri, {.payload_bytes = 4096})
                                         : catalog_.attach(kUri, {.timeout_ms = 60'000});
    if (!opened) std::fprintf(stderr, "%s\n", opened.error().to_string().c_str());
    return std::move(opened).value();
  }

  Catalog catalog_;
  Segment segment_;
  cuda::Device& device_;
};

// A word that a test and its children share, as the steps of a play: each waits for its turn.
class Steps {
 public:
  Steps()
      : step_(static_cast<std::atomic<int>*>(mmap(nullptr, sizeof(std::atomic<int>),
                                                  PROT_READ | PROT_WRITE,
                                                  MAP_SHARED | MAP_ANONYMOUS, -1, 0))) {}
  ~Steps() { munmap(step_, sizeof(std::atomic<int>)); }
  Steps(const Steps&) = delete;
  Steps& operator=(const Steps&) = delete;

  void reach(int step) { *step_ = step; }
  int now() const { return *step_; }
  // Until then, or the end of the child's alarm.
  void await(int step) const {
    while (*step_ < step)
      usleep(200);
  }

 private:
  std::atomic<int>* step_;
};

// The test's own end of it: a check in a child that fails ends the child with this.
inline void need(bool ok, int code) {
  if (!ok) _exit(code);
}

inline bool has_code(const Status& status, Code code) {
  if (status.code() == code) return true;
  std::fprintf(stderr, "expected %s: %s\n", std::string(code_name(code)).c_str(),
               status.to_string().c_str());
  return false;
}

inline int exit_code(int status) {
  return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

// A timeline without a driver.
inline Result<cuda::Timeline> open_on_host(Os& os, const GpuScene& scene) {
  return cuda::Timeline::open_on_host(os, scene.headers.path(), SegmentUri::parse(kUri).value());
}

// Processes that begin with a timeline, which ends before the process's segment does. The creator's
// body reaches step 1 when others may come.
template <typename Body>
pid_t start_creator(const GpuScene& scene, Body body) {
  return start_child([&] {
    GpuProcess process(scene, Start::create);
    cuda::Timeline timeline = process.timeline();
    body(process, timeline);
  });
}
template <typename Body>
pid_t start_attacher(const GpuScene& scene, const Steps& steps, Body body) {
  return start_child([&] {
    steps.await(1);
    GpuProcess process(scene, Start::attach);
    cuda::Timeline timeline = process.timeline();
    body(process, timeline);
  });
}
template <typename Body>
pid_t start_host_side(const GpuScene& scene, const Steps& steps, Body body) {
  return start_child([&] {
    steps.await(1);
    RealOs os;
    cuda::Timeline timeline = open_on_host(os, scene).value();
    body(timeline);
  });
}
template <typename Body>
int in_creator(const GpuScene& scene, Body body) {
  return wait_for(start_creator(scene, body));
}

}  // namespace strata::inline v0_1::test
