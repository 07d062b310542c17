// How long it takes to get the descriptor of device memory from another process: with peers that
// live, and with one among them that was killed a moment before.

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>

#include <algorithm>
#include <vector>

#include "gpu/descriptor_exchange.h"
#include "gpu/exchange_testing.h"

using namespace strata;
using namespace strata::cuda;

namespace {

constexpr int kPeers = 3;
constexpr int kRounds = 2000;
constexpr int kRoundsOfDead = 500;

double ask_us(Os& os, const std::string& directory, const SegmentUuid& uuid) {
  const std::uint64_t begin = monotonic_ns();
  const auto fd = ask_for_descriptor(os, {directory}, {.uuid = uuid, .generation = 1},
                                     Deadline::after_ms(60'000));
  const std::uint64_t end = monotonic_ns();
  STRATA_CHECK(fd.has_value());
  return static_cast<double>(end - begin) / 1000;
}

void report(const char* what, std::vector<double> us) {
  std::sort(us.begin(), us.end());
  fmt::print("{:<52} p50 {:8.1f} us   p99 {:8.1f} us   ({} times)\n", what, us[us.size() / 2],
             us[us.size() * 99 / 100], us.size());
}

}  // namespace

int main() {
  RealOs os;
  const test::TempDir folder("/dev/shm");
  const SegmentUuid uuid = test::uuid_like(0xab);
  std::vector<std::unique_ptr<test::Peer>> peers;
  for (int i = 0; i < kPeers; ++i)
    peers.push_back(
        std::make_unique<test::Peer>(test::server_of(folder.path(), uuid, "the memory")));
  std::vector<double> us;
  for (int i = 0; i < kRounds; ++i)
    us.push_back(ask_us(os, folder.path(), uuid));
  report("hand-over, 3 peers", us);

  us.clear();
  for (int i = 0; i < kRoundsOfDead; ++i) {
    test::Peer(test::server_of(folder.path(), uuid, "the memory")).kill();
    us.push_back(ask_us(os, folder.path(), uuid));
  }
  report("hand-over, 3 peers and one that was killed", us);

  us.clear();
  test::Peer stopped(test::server_of(folder.path(), uuid, "the memory"));
  stopped.stop();
  for (int i = 0; i < kRoundsOfDead; ++i)
    us.push_back(ask_us(os, folder.path(), uuid));
  report("hand-over, 3 peers and one that is stopped", us);

  us.clear();
  DescriptorServer server(os, folder.path());
  for (int i = 0; i < kRounds; ++i) {
    const std::uint64_t begin = monotonic_ns();
    STRATA_CHECK(
        server.serve({.uuid = uuid, .generation = 1, .fd = test::marked("x")}).has_value());
    us.push_back(static_cast<double>(monotonic_ns() - begin) / 1000);
  }
  report("to serve and to withdraw", us);
}
