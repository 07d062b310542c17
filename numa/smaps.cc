#include "numa/smaps.h"

#include <algorithm>
#include <charconv>
#include <string_view>

#include "numa/sysfs.h"
#include "os/os.h"
#include "strata/base/bytes.h"

namespace strata::inline v0_1 {
namespace {

// "7f0000000000-7f0000200000 rw-s …" opens a mapping; its facts follow as "Key:   12 kB".
bool parse_bounds(std::string_view line, std::uintptr_t& start, std::uintptr_t& end) {
  const char* last = line.data() + line.size();
  const auto first = std::from_chars(line.data(), last, start, 16);
  if (first.ec != std::errc{} || first.ptr == last || *first.ptr != '-') return false;
  const auto second = std::from_chars(first.ptr + 1, last, end, 16);
  return second.ec == std::errc{} && second.ptr != last && *second.ptr == ' ';
}

}  // namespace

Result<std::vector<MappedArea>> mapped_areas(Os& os, std::span<const std::byte> range) {
  STRATA_ASSIGN(const std::string text, os.read_file("/proc/self/smaps"));
  const auto from = reinterpret_cast<std::uintptr_t>(range.data());
  const std::uintptr_t to = from + range.size();
  std::vector<MappedArea> areas;
  bool is_inside = false;
  std::string_view rest = text;
  while (!rest.empty()) {
    const std::string_view line = rest.substr(0, rest.find('\n'));
    rest.remove_prefix(std::min(rest.size(), line.size() + 1));
    std::uintptr_t start = 0, end = 0;
    if (parse_bounds(line, start, end)) {
      is_inside = start < to && end > from;
      if (is_inside) areas.push_back({std::max(start, from), std::min(end, to)});
      continue;
    }
    if (!is_inside) continue;
    MappedArea& area = areas.back();
    for (const char* key : {"ShmemPmdMapped:", "FilePmdMapped:", "AnonHugePages:"}) {
      if (line.starts_with(key)) {
        area.pmd_bytes += KiB(parse_number(line.substr(std::string_view(key).size())).value_or(0));
      }
    }
    if (line.starts_with("KernelPageSize:")) {
      area.page_bytes = KiB(parse_number(line.substr(15)).value_or(4));
    }
  }
  for (MappedArea& area : areas)
    area.pmd_bytes = std::min(area.pmd_bytes, area.bytes());
  return areas;
}

}  // namespace strata::inline v0_1
