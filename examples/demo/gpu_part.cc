#include "examples/demo/gpu_part.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>

#include "examples/demo/process.h"
#include "gpu/cuda_backend.h"
#include "gpu/descriptor_exchange.h"
#include "strata/base/bytes.h"

namespace demo {
namespace {

using strata::Result;
using strata::Segment;

constexpr std::uint64_t kPatienceMs = 60'000;
constexpr std::uint64_t kPollNs = 2'000'000;

struct RemovedAtEnd {
  std::string path;
  ~RemovedAtEnd() {
    std::error_code ignored;
    std::filesystem::remove_all(path, ignored);
  }
};

// ./demo says where it built the fake driver; else it is where Bazel puts it beside this program.
std::string find_fake() {
  if (const char* given = std::getenv("FAKE_CUDA")) return given;
  std::error_code error;
  const auto self = std::filesystem::read_symlink("/proc/self/exe", error);
  return (self.parent_path().parent_path().parent_path() / "tests/fake_cuda/libcuda.so.1").string();
}

// What the processes that are started from now on find as their driver. False: there is none.
bool choose_driver(Story& story, const std::string& state_directory) {
  const auto devices = strata::cuda::Devices::load({});
  if (devices) {
    story.say("On " + (*devices)->all().front()->describe());
    return true;
  }
  const std::string fake = find_fake();
  if (!std::filesystem::exists(fake)) {
    story.say("Left out: there is no GPU (" + devices.error().message() + "), and no fake driver");
    return false;
  }
  const std::string folder = std::filesystem::path(fake).parent_path().string();
  setenv("LD_LIBRARY_PATH", folder.c_str(), 1);
  setenv("STRATA_FAKE_CUDA_DIR", state_directory.c_str(), 1);
  std::filesystem::create_directories(state_directory);
  story.say("There is no GPU here: this runs on a FAKE driver and proves nothing about hardware.");
  return true;
}

// Waits until so many processes have the memory.
Result<void> wait_for_users(strata::Catalog& catalog, strata::Os& os, const std::string& uri,
                            std::size_t count) {
  STRATA_ASSIGN(strata::Backend* const backend, catalog.backend("cuda"));
  const auto& directory = dynamic_cast<strata::CudaBackend&>(*backend).options().directory;
  const strata::Deadline deadline = strata::Deadline::after_ms(kPatienceMs);
  while (!deadline.expired()) {
    const auto stat = catalog.stat(uri);
    if (stat && stat->state == strata::SegmentState::ready) {
      STRATA_ASSIGN(const auto users,
                    strata::cuda::consumers(os, {.directory = directory}, stat->identity.uuid));
      const auto alive = std::count_if(users.begin(), users.end(),
                                       [](const auto& user) { return user.is_alive(); });
      if (static_cast<std::size_t>(alive) == count) return {};
    }
    os.sleep_ns(kPollNs);
  }
  return strata::fail(strata::Code::timed_out,
                      fmt::format("{}: {} users do not come to be", uri, count));
}

Result<bool> is_equal(const Segment& buffer, std::span<const std::byte> expected) {
  std::vector<std::byte> bytes(buffer.payload_bytes());
  STRATA_TRY(buffer.read(0, bytes));
  return std::equal(bytes.begin(), bytes.end(), expected.begin(), expected.end());
}

Result<void> produce(strata::Catalog& catalog, const std::string& uri,
                     std::span<const std::byte> texts) {
  STRATA_ASSIGN(Segment buffer, catalog.create(uri, {.payload_bytes = texts.size(),
                                                     .publish = strata::Publish::by_creator,
                                                     .lifetime = strata::Lifetime::last_detach}));
  STRATA_TRY(buffer.write(0, texts));
  STRATA_TRY(buffer.publish());
  pause();
  return {};
}

Result<void> checkpoint(Story& story, strata::Catalog& catalog, const DemoOptions& options,
                        const std::string& uri, std::span<const std::byte> texts) {
  story.step("The bytes go from the device into a pool");
  const RemovedAtEnd pool = {options.pool_path};
  story.strata(fmt::format("pool create {} --size 32M", pool.path));
  story.strata(fmt::format("pool checkpoint {} texts {}", pool.path, uri));
  STRATA_ASSIGN(const Segment saved, catalog.attach("pmem:" + pool.path + "#texts",
                                                    {.access = strata::Access::read_only}));
  STRATA_ASSIGN(const bool is_same, is_equal(saved, texts));
  story.check(is_same, "the pool has every byte that the producer wrote");
  return {};
}

}  // namespace

Result<void> run_gpu_process(strata::Catalog& catalog, const std::string& role,
                             const std::string& uri, const std::string& corpus_uri) {
  end_with_parent();
  STRATA_ASSIGN(const Segment corpus,
                catalog.attach(corpus_uri, {.access = strata::Access::read_only}));
  STRATA_ASSIGN(const auto texts, corpus.host_bytes());
  if (role == "--gpu-producer") return produce(catalog, uri, texts);
  STRATA_ASSIGN(const Segment buffer, catalog.attach(uri, {.access = strata::Access::read_only,
                                                           .timeout_ms = kPatienceMs}));
  STRATA_ASSIGN(const bool is_same, is_equal(buffer, texts));
  if (!is_same) return strata::fail(strata::Code::corrupt, uri + " holds other bytes");
  if (role == "--gpu-consumer") pause();
  return {};
}

Result<void> share_device_memory(Story& story, strata::Catalog& catalog, strata::Os& os,
                                 const DemoOptions& options, const Segment& corpus) {
  story.title("Part four: memory of a GPU, shared, and not lost with the process that made it");
  const RemovedAtEnd fake_state = {fmt::format("/dev/shm/strata-demo-{}.fake-gpu", getpid())};
  if (!choose_driver(story, fake_state.path)) return {};
  STRATA_ASSIGN(const auto texts, corpus.host_bytes());
  const std::string uri = options.device_uri();
  const std::string corpus_uri = corpus.uri().to_string();

  story.step("A producer fills a buffer with the texts, and a consumer attaches it");
  STRATA_ASSIGN(Child producer, Child::start_self({"--gpu-producer", uri, corpus_uri}));
  STRATA_TRY(wait_for_users(catalog, os, uri, 1));
  STRATA_ASSIGN(const Child consumer, Child::start_self({"--gpu-consumer", uri, corpus_uri}));
  STRATA_TRY(wait_for_users(catalog, os, uri, 2));
  story.strata("gpu info " + uri);

  story.step("The producer is killed, and a third process attaches what it made");
  producer.kill();
  STRATA_TRY(producer.wait(strata::Deadline::after_ms(kPatienceMs)));
  STRATA_ASSIGN(Child reader, Child::start_self({"--gpu-reader", uri, corpus_uri}));
  STRATA_ASSIGN(const int status, reader.wait(strata::Deadline::after_ms(kPatienceMs)));
  story.check(status == 0, fmt::format("all {} that the dead producer wrote are there",
                                       strata::format_bytes(texts.size())));
  return checkpoint(story, catalog, options, uri, texts);
}

}  // namespace demo
