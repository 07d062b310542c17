#include "numa/sysfs.h"

#include <algorithm>
#include <charconv>

#include "os/os.h"

namespace strata::inline v0_1 {
namespace {

constexpr int kMaxListed = 65536;  // processors or nodes in a list: more is nonsense

std::string node_directory(int node) {
  return "/sys/devices/system/node/node" + std::to_string(node);
}

std::uint64_t less(std::uint64_t all, std::uint64_t part) { return all > part ? all - part : 0; }

}  // namespace

std::optional<std::uint64_t> parse_number(std::string_view text) {
  const std::size_t start = text.find_first_not_of(" \t");
  if (start == std::string_view::npos) return {};
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data() + start, text.data() + text.size(), value);
  if (error != std::errc{}) return {};
  return value;
}

std::vector<int> parse_number_list(std::string_view text) {
  std::vector<int> numbers;
  while (!text.empty()) {
    const std::string_view item = text.substr(0, text.find(','));
    text.remove_prefix(std::min(text.size(), item.size() + 1));
    const auto first = parse_number(item);
    if (!first) break;
    const std::size_t dash = item.find('-');
    const auto last = dash == std::string_view::npos ? first : parse_number(item.substr(dash + 1));
    if (!last || *last < *first || *last >= kMaxListed) break;
    for (std::uint64_t n = *first; n <= *last; ++n)
      numbers.push_back(static_cast<int>(n));
  }
  return numbers;
}

std::string read_trimmed(Os& os, const std::string& path) {
  auto text = os.read_file(path);
  if (!text) return {};
  while (!text->empty() && (text->back() == '\n' || text->back() == ' '))
    text->pop_back();
  return *std::move(text);
}

std::optional<std::uint64_t> read_number(Os& os, const std::string& path) {
  return parse_number(read_trimmed(os, path));
}

std::optional<std::uint64_t> meminfo_bytes(std::string_view text, std::string_view key) {
  // Lines are "MemFree:  1 kB" for the machine and "Node 0 MemFree:  1 kB" for a node.
  std::size_t at = 0;
  while ((at = text.find(key, at)) != std::string_view::npos) {
    const std::size_t end = at + key.size();
    const bool starts = at == 0 || text[at - 1] == '\n' || text[at - 1] == ' ';
    if (starts && end < text.size() && text[end] == ':') {
      const auto kib = parse_number(text.substr(end + 1));
      if (!kib) return {};
      return *kib * 1024;
    }
    at = end;
  }
  return {};
}

std::optional<std::uint64_t> available_bytes(Os& os) {
  return meminfo_bytes(read_trimmed(os, "/proc/meminfo"), "MemAvailable");
}

std::optional<std::uint64_t> available_bytes(Os& os, int node) {
  const std::string text = read_trimmed(os, node_directory(node) + "/meminfo");
  const auto free = meminfo_bytes(text, "MemFree");
  if (!free) return {};
  const std::uint64_t cache = meminfo_bytes(text, "Active(file)").value_or(0) +
                              meminfo_bytes(text, "Inactive(file)").value_or(0);
  const std::uint64_t dirty = meminfo_bytes(text, "Dirty").value_or(0);
  return *free + (cache > dirty ? cache - dirty : 0) +
         meminfo_bytes(text, "SReclaimable").value_or(0) / 2;
}

std::vector<HugePagePool> huge_page_pools(Os& os, int node) {
  const std::string machine_directory = "/sys/kernel/mm/hugepages";
  const std::string directory = node < 0 ? machine_directory : node_directory(node) + "/hugepages";
  std::vector<HugePagePool> pools;
  const auto names = os.list_directory(directory);
  if (!names) return pools;
  constexpr std::string_view kPrefix = "hugepages-";
  for (const std::string& name : *names) {
    if (name.rfind(kPrefix, 0) != 0) continue;
    const auto kib = parse_number(std::string_view(name).substr(kPrefix.size()));
    const auto total = read_number(os, directory + "/" + name + "/nr_hugepages");
    const auto free = read_number(os, directory + "/" + name + "/free_hugepages");
    if (!kib || !total || !free) continue;
    const auto of_machine = [&](const char* file) {
      return read_number(os, machine_directory + "/" + name + "/" + file);
    };
    // Promised pages are still counted as free, and surplus ones in the total.
    const std::uint64_t promised = of_machine("resv_hugepages").value_or(0);
    const std::uint64_t unpromised = less(of_machine("free_hugepages").value_or(*free), promised);
    const std::uint64_t on_demand = less(of_machine("nr_overcommit_hugepages").value_or(0),
                                         of_machine("surplus_hugepages").value_or(0));
    pools.push_back({*kib * 1024, *total, std::min(*free, unpromised), on_demand});
  }
  std::sort(pools.begin(), pools.end(),
            [](const auto& a, const auto& b) { return a.page_bytes < b.page_bytes; });
  return pools;
}

std::string chosen_word(std::string_view text) {
  const std::size_t open = text.find('[');
  const std::size_t close = text.find(']', open == std::string_view::npos ? 0 : open);
  if (open == std::string_view::npos || close == std::string_view::npos) return {};
  return std::string(text.substr(open + 1, close - open - 1));
}

std::vector<int> allowed_nodes(Os& os) {
  constexpr std::string_view kKey = "Mems_allowed_list:";
  const std::string text = read_trimmed(os, "/proc/self/status");
  const std::size_t at = text.find(kKey);
  if (at == std::string::npos) return {};
  const std::string_view rest = std::string_view(text).substr(at + kKey.size());
  return parse_number_list(rest.substr(0, rest.find('\n')));
}

std::vector<int> forbidden_nodes(Os& os) {
  const std::vector<int> allowed = allowed_nodes(os);
  if (allowed.empty()) return {};
  std::vector<int> forbidden =
      parse_number_list(read_trimmed(os, "/sys/devices/system/node/has_memory"));
  std::erase_if(forbidden, [&](int node) {
    return std::find(allowed.begin(), allowed.end(), node) != allowed.end();
  });
  return forbidden;
}

std::vector<int> sysfs_nodes(Os& os) {
  return parse_number_list(read_trimmed(os, "/sys/devices/system/node/online"));
}

}  // namespace strata::inline v0_1
