#include "numa/doctor_facts.h"

#include <fmt/format.h>
#include <linux/magic.h>

#include "numa/limits.h"
#include "numa/sysfs.h"
#include "os/os.h"
#include "strata/base/bytes.h"

namespace strata::inline v0_1 {
namespace {

constexpr const char* kThp = "/sys/kernel/mm/transparent_hugepage/";

bool grants_huge_pages(const std::string& word) {
  return word == "always" || word == "within_size" || word == "advise" || word == "force";
}

// Anonymous segments and memfds follow shmem_enabled; named ones the mount of /dev/shm.
void add_huge_pages(Os& os, std::vector<DoctorFact>& facts) {
  const std::string file = std::string(kThp) + "shmem_enabled";
  const std::string word = chosen_word(read_trimmed(os, file));
  if (word.empty()) {
    facts.push_back({"2 MiB pages on demand", "this kernel has none", false,
                     "a kernel with CONFIG_TRANSPARENT_HUGEPAGE and CONFIG_SHMEM"});
    return;
  }
  facts.push_back({"2 MiB pages on demand, anonymous segments", word, grants_huge_pages(word),
                   grants_huge_pages(word) ? "" : "as root: echo advise > " + file});
  const std::string mounts = read_trimmed(os, "/proc/self/mounts");
  const std::size_t at = mounts.find(" /dev/shm tmpfs ");
  if (at == std::string::npos) return;
  const std::string line = mounts.substr(at, mounts.find('\n', at) - at);
  const std::size_t option = line.find("huge=");
  std::string mount_word = "never";  // what tmpfs does when the mount says nothing
  if (option != std::string::npos) {
    mount_word = line.substr(option + 5, line.find_first_of(", ", option) - option - 5);
  }
  const bool is_fine = word == "force" || (word != "deny" && grants_huge_pages(mount_word));
  facts.push_back({"2 MiB pages on demand, named segments", "huge=" + mount_word, is_fine,
                   is_fine ? "" : "as root: mount -o remount,huge=advise /dev/shm"});
}

void add_pools(Os& os, std::vector<DoctorFact>& facts) {
  for (const HugePagePool& pool : huge_page_pools(os, -1)) {
    const bool is_fine = pool.available_pages() > 0;
    facts.push_back({fmt::format("reserved {} pages", format_bytes(pool.page_bytes)),
                     fmt::format("{} free of {}{}", pool.free_pages, pool.total_pages,
                                 pool.on_demand_pages == 0
                                     ? ""
                                     : fmt::format(", {} more on demand", pool.on_demand_pages)),
                     is_fine,
                     is_fine ? ""
                             : fmt::format("as root: echo N > "
                                           "/sys/kernel/mm/hugepages/hugepages-{}kB/nr_hugepages",
                                           pool.page_bytes / 1024)});
  }
}

void add_shm_directory(Os& os, std::vector<DoctorFact>& facts) {
  const auto mount = os.statfs("/dev/shm");
  if (!mount) {
    facts.push_back({"/dev/shm", "cannot be read: " + mount.error().message(), false,
                     "as root: mount -t tmpfs tmpfs /dev/shm"});
    return;
  }
  const bool is_tmpfs = mount->f_type == TMPFS_MAGIC;
  const auto block_bytes = static_cast<std::uint64_t>(mount->f_bsize);
  const std::uint64_t free_bytes = mount->f_bavail * block_bytes;
  const bool is_roomy = mount->f_blocks == 0 || free_bytes >= MiB(256);
  facts.push_back({"/dev/shm",
                   mount->f_blocks == 0 ? std::string("no size limit")
                                        : fmt::format("{} free of {}{}", format_bytes(free_bytes),
                                                      format_bytes(mount->f_blocks * block_bytes),
                                                      is_tmpfs ? "" : ", not a tmpfs"),
                   is_tmpfs && is_roomy,
                   !is_tmpfs   ? "as root: mount -t tmpfs tmpfs /dev/shm"
                   : !is_roomy ? "strata gc, or as root: mount -o remount,size=… /dev/shm "
                                 "(docker: --shm-size)"
                               : ""});
}

void add_locked_memory(Os& os, std::vector<DoctorFact>& facts) {
  // "Max locked memory       8388608     8388608     bytes"
  const std::string text = read_trimmed(os, "/proc/self/limits");
  constexpr std::string_view kKey = "Max locked memory";
  const std::size_t at = text.find(kKey);
  if (at == std::string::npos) return;
  const auto soft = parse_number(std::string_view(text).substr(at + kKey.size()));
  const bool is_fine = !soft || *soft >= MiB(64);
  facts.push_back({"memory that may be locked", soft ? format_bytes(*soft) : "unlimited", is_fine,
                   is_fine ? "" : "ulimit -l unlimited, or memlock in /etc/security/limits.conf"});
}

void add_overcommit(Os& os, std::vector<DoctorFact>& facts) {
  const auto mode = read_number(os, "/proc/sys/vm/overcommit_memory");
  if (!mode) return;
  const char* names[] = {"heuristic", "always", "never"};
  const bool is_fine = *mode != 2;
  facts.push_back({"overcommit", *mode < 3 ? names[*mode] : std::to_string(*mode), is_fine,
                   is_fine ? ""
                           : "segments that can grow reserve address space: as root: sysctl "
                             "vm.overcommit_memory=0"});
}

}  // namespace

std::vector<DoctorFact> memory_facts(Os& os) {
  std::vector<DoctorFact> facts;
  if (const std::string nodes = free_bytes_per_node(os); !nodes.empty()) {
    facts.push_back({"memory nodes", nodes, true, ""});
  }
  add_shm_directory(os, facts);
  add_huge_pages(os, facts);
  add_pools(os, facts);
  add_locked_memory(os, facts);
  add_overcommit(os, facts);
  for (const MemoryLimit& limit : memory_limits(os, -1, PageSize::base)) {
    facts.push_back({limit.what,
                     fmt::format("{} free of {}", format_bytes(limit.free_bytes),
                                 format_bytes(limit.limit_bytes)),
                     limit.free_bytes >= MiB(64), limit.free_bytes >= MiB(64) ? "" : limit.remedy});
  }
  return facts;
}

}  // namespace strata::inline v0_1
