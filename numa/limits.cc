#include "numa/limits.h"

#include <fmt/format.h>
#include <linux/magic.h>

#include <algorithm>
#include <limits>

#include "numa/plan.h"
#include "numa/sysfs.h"
#include "os/os.h"
#include "strata/base/bytes.h"

namespace strata::inline v0_1 {
namespace {

constexpr std::uint64_t kCheapBytes = MiB(2);  // below, only the file system is asked

bool is_hugetlb(PageSize page_size) {
  return page_size == PageSize::huge_2m || page_size == PageSize::huge_1g;
}

std::uint64_t node_total_bytes(Os& os, int node) {
  const std::string path = "/sys/devices/system/node/node" + std::to_string(node) + "/meminfo";
  return meminfo_bytes(read_trimmed(os, path), "MemTotal").value_or(0);
}

// The size that the file system behind `fd` was mounted with.
std::optional<MemoryLimit> mount_limit(Os& os, int fd) {
  if (fd < 0) return {};
  const auto facts = os.fstatfs(fd);
  if (!facts) return {};
  const bool is_hugetlbfs = facts->f_type == HUGETLBFS_MAGIC;
  // The kernel's own mounts, where memfds live, have no size; hugetlbfs says -1 as well.
  const bool has_size = facts->f_blocks != 0 && facts->f_blocks != ~fsblkcnt_t{0};
  if (!has_size || (!is_hugetlbfs && facts->f_type != TMPFS_MAGIC)) return {};
  const auto block_bytes = static_cast<std::uint64_t>(facts->f_bsize);
  MemoryLimit limit{"", facts->f_blocks * block_bytes, facts->f_bavail * block_bytes, ""};
  if (is_hugetlbfs) {
    limit.what = "the hugetlbfs behind the segment";
    limit.remedy = "remove segments (strata ls, strata gc) or mount it with a larger size=…";
  } else {
    limit.what = "the tmpfs behind the segment";
    limit.remedy =
        "remove segments (strata ls, strata gc) or enlarge it: mount -o "
        "remount,size=… /dev/shm (docker: --shm-size)";
  }
  return limit;
}

// Free pages of a pool that the cpuset of this process lets it have.
std::uint64_t free_on_allowed_nodes(Os& os, const HugePagePool& pool) {
  if (forbidden_nodes(os).empty()) return pool.free_pages;
  std::uint64_t pages = 0;
  for (const int node : allowed_nodes(os)) {
    for (const HugePagePool& part : huge_page_pools(os, node)) {
      if (part.page_bytes == pool.page_bytes) pages += part.free_pages;
    }
  }
  return pages;
}

std::optional<MemoryLimit> pool_limit(Os& os, PageSize page_size) {
  const std::uint64_t page_bytes = page_bytes_of(page_size);
  MemoryLimit limit{fmt::format("the pool of {} huge pages", format_bytes(page_bytes)), 0, 0,
                    fmt::format("reserve more: echo N > /sys/kernel/mm/hugepages/"
                                "hugepages-{}kB/nr_hugepages",
                                page_bytes / 1024)};
  for (const HugePagePool& pool : huge_page_pools(os, -1)) {
    if (pool.page_bytes != page_bytes) continue;
    limit.limit_bytes = (pool.total_pages + pool.on_demand_pages) * page_bytes;
    limit.free_bytes =
        (std::min(pool.free_pages, free_on_allowed_nodes(os, pool)) + pool.on_demand_pages) *
        page_bytes;
  }
  return limit;
}

// The path of this process's group behind ":memory:" (v1) or "0::" (v2) in /proc/self/cgroup.
std::string cgroup_path(const std::string& text, std::string_view marker) {
  std::size_t at = 0;
  while (at < text.size()) {
    const std::size_t end = std::min(text.find('\n', at), text.size());
    const std::string_view line(text.data() + at, end - at);
    const std::size_t found = line.find(marker);
    if (found != std::string_view::npos) return std::string(line.substr(found + marker.size()));
    at = end + 1;
  }
  return {};
}

struct CgroupFiles {
  std::string root;
  const char* limit;
  const char* used;
  const char* reclaimable;  // in memory.stat
};

// The tightest limit of the group and of those around it. Inside a container the path may not
// be visible; the root of the mount is then the container's own group.
std::optional<MemoryLimit> cgroup_limit(Os& os, const CgroupFiles& files, std::string path) {
  std::optional<MemoryLimit> tightest;
  while (true) {
    const std::string directory = files.root + (path == "/" ? "" : path) + "/";
    const auto limit = read_number(os, directory + files.limit);  // "max" is no number
    const auto used = read_number(os, directory + files.used);
    // v1 writes "no limit" as a huge number.
    if (limit && used && *limit < (std::uint64_t{1} << 60)) {
      std::uint64_t cache = 0;
      const std::string stat = "\n" + read_trimmed(os, directory + "memory.stat");
      const std::string key = "\n" + std::string(files.reclaimable) + " ";
      if (const std::size_t at = stat.find(key); at != std::string::npos) {
        cache = parse_number(std::string_view(stat).substr(at + key.size())).value_or(0);
      }
      const std::uint64_t busy = *used > cache ? *used - cache : 0;
      MemoryLimit here{"the memory cgroup " + (path.empty() ? "/" : path), *limit,
                       *limit > busy ? *limit - busy : 0,
                       "raise " + directory + files.limit +
                           " (Slurm: --mem; docker: --memory), or ask for less"};
      if (!tightest || here.free_bytes < tightest->free_bytes) tightest = std::move(here);
    }
    if (path.empty() || path == "/") return tightest;
    path.resize(path.rfind('/'));
  }
}

std::optional<MemoryLimit> cgroup_limit(Os& os) {
  const std::string text = read_trimmed(os, "/proc/self/cgroup");
  if (const std::string path = cgroup_path(text, ":memory:"); !path.empty()) {
    return cgroup_limit(os,
                        {"/sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes",
                         "total_inactive_file"},
                        path);
  }
  const std::string path = cgroup_path(text, "0::");
  if (path.empty()) return {};
  return cgroup_limit(os, {"/sys/fs/cgroup", "memory.max", "memory.current", "inactive_file"},
                      path);
}

// What the memory nodes that the cpuset allows can give; nothing where it allows all.
std::optional<MemoryLimit> cpuset_limit(Os& os, std::uint64_t swap_bytes) {
  if (forbidden_nodes(os).empty()) return {};
  MemoryLimit limit{"", 0, 0, "have cpuset.mems widened, or ask for less"};
  std::string nodes;
  for (const int node : allowed_nodes(os)) {
    const auto free = available_bytes(os, node);
    if (!free) continue;
    nodes += (nodes.empty() ? "" : ", ") + std::to_string(node);
    limit.free_bytes += *free;
    limit.limit_bytes += node_total_bytes(os, node);
  }
  if (nodes.empty()) return {};
  limit.what = fmt::format("the memory that this cpuset allows (node {})", nodes);
  limit.free_bytes += swap_bytes;
  return limit;
}

std::optional<MemoryLimit> machine_limit(Os& os) {
  const std::string text = read_trimmed(os, "/proc/meminfo");
  const auto available = meminfo_bytes(text, "MemAvailable");
  if (!available) return {};
  const std::uint64_t swap = meminfo_bytes(text, "SwapFree").value_or(0);
  if (auto allowed = cpuset_limit(os, swap)) return allowed;
  return MemoryLimit{
      "the memory of this machine",
      meminfo_bytes(text, "MemTotal").value_or(0) + meminfo_bytes(text, "SwapTotal").value_or(0),
      *available + swap, "end other programs, or ask for less"};
}

Result<void> check(Os& os, const MemoryLimit& limit, std::uint64_t needed_bytes) {
  if (needed_bytes <= limit.free_bytes) return {};
  const std::string nodes = free_bytes_per_node(os);
  return fail(
      Code::exhausted,
      fmt::format("{} ({} bytes) needed, but {} has {} ({} bytes) free of {}; {}{}{}",
                  format_bytes(needed_bytes), needed_bytes, limit.what,
                  format_bytes(limit.free_bytes), limit.free_bytes, format_bytes(limit.limit_bytes),
                  nodes, nodes.empty() ? "" : "; ", limit.remedy));
}

}  // namespace

std::vector<MemoryLimit> memory_limits(Os& os, int fd, PageSize page_size) {
  std::vector<MemoryLimit> limits;
  const auto add = [&](std::optional<MemoryLimit> limit) {
    if (limit) limits.push_back(*std::move(limit));
  };
  if (is_hugetlb(page_size)) {
    add(mount_limit(os, fd));
    add(pool_limit(os, page_size));
    return limits;
  }
  add(mount_limit(os, fd));
  add(cgroup_limit(os));
  add(machine_limit(os));
  return limits;
}

Result<void> check_room(Os& os, int fd, std::uint64_t needed_bytes, PageSize page_size) {
  needed_bytes = align_up(needed_bytes, is_hugetlb(page_size) ? page_bytes_of(page_size) : 1);
  if (const auto limit = mount_limit(os, fd)) STRATA_TRY(check(os, *limit, needed_bytes));
  if (is_hugetlb(page_size)) return check(os, *pool_limit(os, page_size), needed_bytes);
  if (needed_bytes < kCheapBytes) return {};
  if (const auto limit = cgroup_limit(os)) STRATA_TRY(check(os, *limit, needed_bytes));
  if (const auto limit = machine_limit(os)) STRATA_TRY(check(os, *limit, needed_bytes));
  return {};
}

std::string free_bytes_per_node(Os& os) {
  std::string text;
  const std::vector<int> forbidden = forbidden_nodes(os);
  const auto is_forbidden = [&](int node) {
    return std::find(forbidden.begin(), forbidden.end(), node) != forbidden.end();
  };
  for (const int node : sysfs_nodes(os)) {
    const auto free = available_bytes(os, node);
    if (!free) continue;
    text += fmt::format("{}node {}: {} free of {}{}", text.empty() ? "" : ", ", node,
                        format_bytes(*free), format_bytes(node_total_bytes(os, node)),
                        is_forbidden(node) ? " (not allowed)" : "");
  }
  return text;
}

}  // namespace strata::inline v0_1
