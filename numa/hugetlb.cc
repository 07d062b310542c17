#include "numa/hugetlb.h"

#include <fmt/format.h>
#include <linux/magic.h>
#include <sys/mman.h>

#include <algorithm>
#include <cinttypes>
#include <cstdio>
#include <optional>
#include <sstream>
#include <string>

#include "os/os.h"

#ifndef MADV_POPULATE_READ  // glibc before 2.35
#define MADV_POPULATE_READ 22
#endif

namespace strata::inline v0_1 {
namespace {

constexpr std::uint64_t kStatBlockBytes = 512;

struct FileArea {
  std::uintptr_t start = 0;
  std::uintptr_t end = 0;
  std::uint64_t inode = 0;
  std::string path;
};

// "7f00-7f20 rw-s 00000000 00:0e 4711      /dev/hugepages/name"
std::optional<FileArea> parse_area(const std::string& line) {
  FileArea area;
  int path_at = 0;
  if (std::sscanf(line.c_str(), "%" SCNxPTR "-%" SCNxPTR " %*s %*s %*s %" SCNu64 " %n", &area.start,
                  &area.end, &area.inode, &path_at) != 3 ||
      area.inode == 0) {
    return {};
  }
  area.path = line.substr(static_cast<std::size_t>(path_at));
  return area;
}

bool has_all_pages(Os& os, const FileArea& area) {
  // The first leads to files without a name too, where this process may follow it.
  for (const std::string& path :
       {fmt::format("/proc/self/map_files/{:x}-{:x}", area.start, area.end), area.path}) {
    const auto system = os.statfs(path);
    if (!system || static_cast<std::uint64_t>(system->f_type) != HUGETLBFS_MAGIC) continue;
    const auto facts = os.stat(path);
    if (!facts || facts->st_ino != area.inode) continue;
    return static_cast<std::uint64_t>(facts->st_blocks) * kStatBlockBytes >=
           static_cast<std::uint64_t>(facts->st_size);
  }
  return false;
}

}  // namespace

bool map_whole_hugetlb_files(Os& os, std::span<std::byte> range) {
  const auto text = os.read_file("/proc/self/maps");
  if (!text) return false;
  const auto from = reinterpret_cast<std::uintptr_t>(range.data());
  const std::uintptr_t to = from + range.size();
  bool has_mapped = false;
  std::istringstream lines(*text);
  for (std::string line; std::getline(lines, line);) {
    const auto area = parse_area(line);
    if (!area || area->start >= to || area->end <= from || !has_all_pages(os, *area)) continue;
    const std::uintptr_t start = std::max(from, area->start);
    const std::uintptr_t end = std::min(to, area->end);
    if (os.madvise(range.data() + (start - from), end - start, MADV_POPULATE_READ)) {
      has_mapped = true;
    }
  }
  return has_mapped;
}

}  // namespace strata::inline v0_1
