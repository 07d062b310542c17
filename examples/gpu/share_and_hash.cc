// Two processes share a buffer of the GPU by name, without a toolkit of CUDA: one fills it on the
// device, the other attaches to the same memory and hashes it there. The producer is gone by then.
#include <strata/strata.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <string>

namespace {

constexpr std::uint64_t kPattern = 0x0123456789ABCDEF;

strata::Result<std::shared_ptr<strata::cuda::Kernels>> kernels_for(const strata::DeviceSpan& span) {
  STRATA_ASSIGN(const auto devices, strata::cuda::Devices::load({}));
  return strata::cuda::Kernels::of(*devices->find(span.device_uuid));
}

strata::Result<void> produce(const std::string& uri, int tell, int may_end) {
  strata::Catalog catalog = strata::open_catalog();
  STRATA_ASSIGN(strata::Segment segment,
                catalog.create(uri, {.payload_bytes = strata::MiB(4),
                                     .publish = strata::Publish::by_creator,
                                     .device = {.is_filled_by_creator = true}}));
  STRATA_ASSIGN(const strata::DeviceSpan span, segment.device_bytes());
  STRATA_ASSIGN(const auto kernels, kernels_for(span));
  STRATA_TRY(kernels->fill(span, kPattern, nullptr));
  STRATA_TRY(segment.publish());  // waits for the device
  char end = 0;
  if (write(tell, "!", 1) != 1 || read(may_end, &end, 1) != 1)
    return strata::fail(strata::Code::internal, "the consumer has ended");
  return {};
}

strata::Result<void> consume(const std::string& uri, int end_producer, pid_t producer) {
  strata::Catalog catalog = strata::open_catalog();
  STRATA_ASSIGN(const strata::Segment segment,
                catalog.attach(uri, {.access = strata::Access::read_only, .timeout_ms = 60'000}));
  if (write(end_producer, "!", 1) != 1)
    return strata::fail(strata::Code::internal, "the producer has ended");
  int status = 0;
  waitpid(producer, &status, 0);

  STRATA_ASSIGN(const strata::DeviceSpan span, segment.device_bytes());
  STRATA_ASSIGN(const auto kernels, kernels_for(span));
  STRATA_ASSIGN(const strata::ContentHash hash,
                kernels->content_hash(span, nullptr, strata::Deadline::after_ms(60'000)));
  const std::vector<std::uint64_t> expected(span.bytes / sizeof kPattern, kPattern);
  if (hash != strata::content_hash(std::as_bytes(std::span(expected))))
    return strata::fail(strata::Code::corrupt, "the device has another hash than the host");
  std::printf("%s: %llu bytes outlived their producer, hash %s\n", uri.c_str(),
              static_cast<unsigned long long>(span.bytes), strata::hash_text(hash).c_str());
  return {};
}

int report(const strata::Result<void>& result) {
  if (!result) std::fprintf(stderr, "%s\n", result.error().to_string().c_str());
  return result ? 0 : 1;
}

}  // namespace

int main() {
  const std::string uri = "cuda:example-" + std::to_string(getpid());
  int to_consumer[2];
  int to_producer[2];
  if (pipe(to_consumer) != 0 || pipe(to_producer) != 0) return 1;
  // Before anything of CUDA: what is forked after its first use cannot use it.
  const pid_t producer = fork();
  if (producer == 0) {
    close(to_consumer[0]);
    close(to_producer[1]);
    return report(produce(uri, to_consumer[1], to_producer[0]));
  }
  close(to_consumer[1]);
  close(to_producer[0]);
  char told = 0;
  // Nothing comes where the producer failed, and has said why.
  if (read(to_consumer[0], &told, 1) != 1) return 1;
  return report(consume(uri, to_producer[1], producer));
}
