// `strata put`: a file of 1 GiB in the page cache into a committed segment, beside memcpy of as
// many bytes from warm memory with as many threads, which is what no copy can beat by much.

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <string>
#include <thread>
#include <vector>

#include "bench/paired.h"
#include "os/os.h"
#include "strata/copy.h"
#include "strata/strata.h"

using namespace strata;

namespace {

constexpr std::uint64_t kBytes = GiB(1);
constexpr std::uint64_t kChunkBytes = MiB(4);

// A file without a name, wholly in the page cache.
Fd make_file(Os& os, std::span<const std::byte> content) {
  const char* folder = std::getenv("TMPDIR");
  Fd file = os.open(folder ? folder : "/tmp", O_TMPFILE | O_RDWR, 0600).value();
  for (std::uint64_t at = 0; at < content.size(); at += kChunkBytes) {
    (void)os.pwrite(file.get(), content.subspan(at, kChunkBytes), at).value();
  }
  return file;
}

void copy_in_parallel(std::span<std::byte> to, std::span<const std::byte> from, unsigned threads) {
  const std::size_t share = from.size() / threads;
  std::vector<std::jthread> helpers;
  for (unsigned i = 1; i < threads; ++i) {
    helpers.emplace_back([=] {
      std::memcpy(to.data() + i * share, from.data() + i * share,
                  i + 1 == threads ? from.size() - i * share : share);
    });
  }
  std::memcpy(to.data(), from.data(), share);
}

}  // namespace

int main(int argc, char** argv) {
  PairedBench bench(argc, argv);
  RealOs os;
  Catalog catalog = make_catalog(os);
  const std::string uri = "shm:put-bench-" + std::to_string(getpid());
  CreateOptions options;
  options.payload_bytes = kBytes;
  options.lifetime = Lifetime::process;
  Segment segment = catalog.create(uri, options).value();
  const std::span<std::byte> into = segment.writable_bytes().value();
  const std::vector<std::byte> content(kBytes, std::byte{7});
  std::fill(into.begin(), into.end(), std::byte{1});
  const auto file = open_source(os, make_file(os, content), "file").value();
  const unsigned threads = std::clamp(std::thread::hardware_concurrency(), 1U, 8U);
  bench.compare(
      {.name = "put 1 GiB from the page cache into a committed segment",
       .ours = "put",
       .peer = "memcpy",
       .goal = at_most(1 / 0.9),
       .bytes = kBytes},
      [&] { return timed_ns([&] { (void)copy(*file, segment); }); },
      [&] { return timed_ns([&] { copy_in_parallel(into, content, threads); }); });
  return bench.finish();
}
