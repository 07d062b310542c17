#include <fcntl.h>
#include <linux/mempolicy.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <array>
#include <memory>

#include "os/os.h"
#include "os/os_internal.h"

namespace strata::inline v0_1 {
namespace {

constexpr int kMaxNodes = 1024;  // CONFIG_NODES_SHIFT is at most 10

// The bit mask that mbind(2) and set_mempolicy(2) read.
struct NodeMask {
  std::array<unsigned long, kMaxNodes / (8 * sizeof(unsigned long))> words{};

  bool add(int node) {
    if (node < 0 || node >= kMaxNodes) return false;
    constexpr int kBits = 8 * sizeof(unsigned long);
    words[static_cast<std::size_t>(node / kBits)] |= 1ul << (node % kBits);
    return true;
  }
};

Result<NodeMask> node_mask(std::span<const int> nodes) {
  NodeMask mask;
  for (int node : nodes) {
    if (!mask.add(node)) {
      return fail(Code::invalid_argument,
                  "node " + std::to_string(node) + " is not in 0.." + std::to_string(kMaxNodes));
    }
  }
  return mask;
}

}  // namespace

Result<std::byte*> Os::mmap(const MapRequest& request) {
  const std::string what = "mmap of " + std::to_string(request.bytes) + " bytes";
  if (const int injected = before("mmap")) return unexpected(status_from_errno(injected, what));
  void* address = ::mmap(request.address, request.bytes, request.protection, request.flags,
                         request.fd, static_cast<off_t>(request.offset_bytes));
  if (address == MAP_FAILED) return unexpected(status_from_errno(errno, what));
  return static_cast<std::byte*>(address);
}

Result<void> Os::munmap(void* address, std::size_t bytes) {
  STRATA_OS_CALL(rc, "munmap", "munmap", ::munmap(address, bytes));
  return {};
}

Result<void> Os::mprotect(void* address, std::size_t bytes, int protection) {
  STRATA_OS_CALL(rc, "mprotect", "mprotect", ::mprotect(address, bytes, protection));
  return {};
}

Result<void> Os::madvise(void* address, std::size_t bytes, int advice) {
  STRATA_OS_CALL(rc, "madvise", "madvise " + std::to_string(advice),
                 ::madvise(address, bytes, advice));
  return {};
}

Result<void> Os::msync(void* address, std::size_t bytes, int flags) {
  STRATA_OS_CALL(rc, "msync", "msync", ::msync(address, bytes, flags));
  return {};
}

Result<void> Os::mlock(void* address, std::size_t bytes) {
  STRATA_OS_CALL(rc, "mlock", "mlock", ::mlock(address, bytes));
  return {};
}

Result<std::vector<bool>> Os::mincore(void* address, std::size_t bytes) {
  std::vector<unsigned char> pages((bytes + 4095) / 4096);
  STRATA_OS_CALL(rc, "mincore", "mincore", ::mincore(address, bytes, pages.data()));
  std::vector<bool> present(pages.size());
  for (std::size_t i = 0; i < pages.size(); ++i)
    present[i] = (pages[i] & 1) != 0;
  return present;
}

Result<std::vector<MappedRun>> Os::scan_pages(std::span<std::byte> range) {
  // As in <linux/fs.h> of Linux 6.7; Debian 12 has older headers.
  struct Region {
    std::uint64_t start, end, categories;
  };
  struct ScanArguments {
    std::uint64_t size, flags, start, end, walk_end, regions, region_count, max_pages,
        category_inverted, category_mask, category_any_of_mask, return_mask;
  };
  constexpr std::uint64_t kIsPresent = 1 << 3, kIsHuge = 1 << 6;
  constexpr unsigned long kScan = _IOWR('f', 16, ScanArguments);
  STRATA_ASSIGN(const Fd fd, open("/proc/self/pagemap", O_RDONLY));
  std::vector<Region> regions(512);
  std::vector<MappedRun> runs;
  const auto base = reinterpret_cast<std::uintptr_t>(range.data());
  ScanArguments scan{};
  scan.size = sizeof scan;
  scan.walk_end = base;
  scan.end = base + range.size();
  scan.regions = reinterpret_cast<std::uintptr_t>(regions.data());
  scan.region_count = regions.size();
  scan.category_mask = kIsPresent;
  scan.return_mask = kIsPresent | kIsHuge;
  while (scan.walk_end < scan.end) {
    scan.start = scan.walk_end;
    STRATA_OS_CALL(count, "pagemap_scan", "scan pages", ::ioctl(fd.get(), kScan, &scan));
    for (std::size_t i = 0; i < static_cast<std::size_t>(count); ++i) {
      runs.push_back({range.data() + (regions[i].start - base), regions[i].end - regions[i].start,
                      (regions[i].categories & kIsHuge) != 0});
    }
  }
  return runs;
}

Result<void> Os::mbind(void* address, std::size_t bytes, int mode, std::span<const int> nodes,
                       unsigned flags) {
  STRATA_ASSIGN(const NodeMask mask, node_mask(nodes));
  // The kernel reads maxnode - 1 bits.
  STRATA_OS_CALL(rc, "mbind", "mbind",
                 ::syscall(SYS_mbind, address, bytes, mode, nodes.empty() ? nullptr : &mask,
                           nodes.empty() ? 0 : kMaxNodes + 1, flags));
  return {};
}

Result<void> Os::set_mempolicy(int mode, std::span<const int> nodes) {
  STRATA_ASSIGN(const NodeMask mask, node_mask(nodes));
  STRATA_OS_CALL(rc, "set_mempolicy", "set_mempolicy",
                 ::syscall(SYS_set_mempolicy, mode, nodes.empty() ? nullptr : &mask,
                           nodes.empty() ? 0 : kMaxNodes + 1));
  return {};
}

Result<std::vector<int>> Os::move_pages(std::span<void* const> pages, std::span<const int> to_nodes,
                                        int flags) {
  std::vector<int> status(pages.size(), -EINVAL);
  if (!to_nodes.empty() && to_nodes.size() != pages.size()) {
    return fail(Code::invalid_argument, "move_pages: one node for each page");
  }
  STRATA_OS_CALL(rc, "move_pages", "move_pages",
                 ::syscall(SYS_move_pages, 0, pages.size(), pages.data(),
                           to_nodes.empty() ? nullptr : to_nodes.data(), status.data(), flags));
  return status;
}

Result<void> Os::set_affinity(std::span<const int> cpus) {
  cpu_set_t set;
  CPU_ZERO(&set);
  for (int cpu : cpus) {
    if (cpu >= 0 && cpu < CPU_SETSIZE) CPU_SET(static_cast<std::size_t>(cpu), &set);
  }
  STRATA_OS_CALL(rc, "sched_setaffinity", "set affinity", ::sched_setaffinity(0, sizeof set, &set));
  return {};
}

Result<std::vector<int>> Os::get_affinity() {
  cpu_set_t set;
  CPU_ZERO(&set);
  STRATA_OS_CALL(rc, "sched_getaffinity", "get affinity", ::sched_getaffinity(0, sizeof set, &set));
  std::vector<int> cpus;
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (CPU_ISSET(static_cast<std::size_t>(cpu), &set)) cpus.push_back(cpu);
  }
  return cpus;
}

std::optional<int> Os::current_cpu() {
  const int cpu = ::sched_getcpu();
  if (cpu < 0) return {};
  return cpu;
}

Result<void> Os::get_random(std::span<std::byte> into) {
  STRATA_OS_CALL(bytes, "getrandom", "getrandom", ::getrandom(into.data(), into.size(), 0));
  if (static_cast<std::size_t>(bytes) != into.size()) {
    return fail(Code::internal, "getrandom gave fewer bytes than asked");
  }
  return {};
}

void Os::sleep_ns(std::uint64_t duration_ns) {
  const timespec pause{static_cast<time_t>(duration_ns / 1'000'000'000),
                       static_cast<long>(duration_ns % 1'000'000'000)};
  ::nanosleep(&pause, nullptr);
}

pid_t Os::process_id() const { return ::getpid(); }

Os::~Os() {
  const KnownIdentity* known = identity_.load();
  while (known != nullptr) {
    const std::unique_ptr<const KnownIdentity> last(known);
    known = last->before;
  }
}

const ProcessIdentity& Os::identity() {
  // A fork copies the remembered identity into a process it does not describe.
  KnownIdentity* known = identity_.load(std::memory_order_acquire);
  if (known != nullptr && known->identity.pid == process_id()) return known->identity;
  auto made = std::make_unique<KnownIdentity>(KnownIdentity{read_identity(*this), known});
  // Of several threads that read it at once, one is remembered.
  if (!identity_.compare_exchange_strong(known, made.get(), std::memory_order_acq_rel)) {
    return known->identity;
  }
  return made.release()->identity;
}

}  // namespace strata::inline v0_1
