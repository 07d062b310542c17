#include "tools/view/machine_facts.h"

#include <fcntl.h>
#include <fmt/format.h>

#include <array>
#include <sstream>
#include <string>

#include "pmem/pool_registry.h"
#include "strata/base/bytes.h"

namespace strata::inline v0_1::tools {
namespace {

constexpr std::array kLibraryDirectories = {"/usr/lib/x86_64-linux-gnu",
                                            "/lib/x86_64-linux-gnu",
                                            "/usr/lib/aarch64-linux-gnu",
                                            "/usr/lib64",
                                            "/usr/lib",
                                            "/usr/local/lib",
                                            "/usr/lib/wsl/lib"};

std::string first_line(Os& os, const std::string& path) {
  const auto text = os.read_file(path);
  return text ? text->substr(0, text->find('\n')) : std::string();
}

// The longest file name of that library: "libpmem2.so.1.0.0" tells more than "libpmem2.so".
std::string find_library(Os& os, const std::string& prefix) {
  std::string found;
  for (const char* const directory : kLibraryDirectories) {
    const auto files = os.list_directory(directory);
    if (!files) continue;
    for (const std::string& file : *files) {
      if (file.starts_with(prefix) && file.size() > found.size() - found.rfind('/') - 1)
        found = std::string(directory) + "/" + file;
    }
    if (!found.empty()) return found;
  }
  return found;
}

DoctorFact tried(const std::string& name, const Result<void>& result, const std::string& remedy) {
  if (result) return {.name = name, .value = "works", .is_fine = true, .remedy = ""};
  return {.name = name, .value = result.error().message(), .is_fine = false, .remedy = remedy};
}

Result<void> try_memfd(Os& os) {
  STRATA_ASSIGN(const Fd fd, os.memfd_create("strata-doctor", 0x0002U /* MFD_ALLOW_SEALING */));
  STRATA_TRY(os.ftruncate(fd.get(), kPageBytes));
  return os.add_seals(fd.get(), F_SEAL_SHRINK);
}

Result<void> try_unnamed_file(Os& os) {
  STRATA_TRY(os.open("/dev/shm", O_TMPFILE | O_RDWR, 0600));
  return {};
}

Result<void> try_locks(Os& os) {
  STRATA_ASSIGN(const Fd fd, os.open("/dev/shm", O_TMPFILE | O_RDWR, 0600));
  STRATA_ASSIGN(const bool locked, os.try_lock_byte(fd.get(), 0, LockKind::exclusive));
  if (!locked) return fail(Code::internal, "a fresh file is locked");
  return {};
}

Result<void> try_populate(Os& os) {
  STRATA_ASSIGN(std::byte* const page,
                os.mmap({.bytes = kPageBytes, .flags = MAP_PRIVATE | MAP_ANONYMOUS}));
  const auto result = os.madvise(page, kPageBytes, 23 /* MADV_POPULATE_WRITE, Linux 5.14 */);
  STRATA_TRY(os.munmap(page, kPageBytes));
  return result;
}

// Whether the kernel says where a page is, which verified placement rests on.
Result<void> try_page_query(Os& os) {
  STRATA_ASSIGN(std::byte* const page,
                os.mmap({.bytes = kPageBytes, .flags = MAP_PRIVATE | MAP_ANONYMOUS}));
  *page = std::byte{1};
  std::array<void*, 1> pages = {page};
  const auto nodes = os.move_pages(pages, {}, 0);
  STRATA_TRY(os.munmap(page, kPageBytes));
  if (!nodes) return unexpected(nodes.error());
  return {};
}

std::string dax_mounts(Os& os) {
  const auto mounts = os.read_file("/proc/mounts");
  if (!mounts) return {};
  std::string found;
  std::istringstream lines(*mounts);
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line);
    std::string device, directory, type, options;
    words >> device >> directory >> type >> options;
    const std::string padded = "," + options + ",";
    if (padded.find(",dax,") == std::string::npos &&
        padded.find(",dax=always,") == std::string::npos)
      continue;
    found += (found.empty() ? "" : ", ") + directory + " (" + type + ")";
  }
  return found;
}

std::string dax_devices(Os& os) {
  std::string found;
  const auto devices = os.list_directory("/sys/bus/dax/devices");
  if (!devices) return found;
  for (const std::string& device : *devices)
    found += (found.empty() ? "/dev/" : ", /dev/") + device;
  return found;
}

DoctorFact library_fact(Os& os, const std::string& name, const std::string& prefix,
                        const std::string& remedy) {
  const std::string path = find_library(os, prefix);
  if (!path.empty()) return {.name = name, .value = path, .is_fine = true, .remedy = ""};
  return {.name = name, .value = "not found", .is_fine = false, .remedy = remedy};
}

DoctorFact registry_fact(Os& os) {
  PoolRegistry registry(os, user_pool_registry());
  DoctorFact fact{.name = "record of used pools (for gc and ls)",
                  .value = registry.problem(),
                  .is_fine = true,
                  .remedy = ""};
  if (fact.value.empty()) {
    fact.value = fmt::format("{} in {}", registry.pools().size(), registry.directory());
  } else {
    fact.is_fine = false;
    fact.remedy = "until then gc and ls see only the pools that are named to them: gc --pool PATH";
  }
  return fact;
}

}  // namespace

std::vector<DoctorFact> kernel_facts(Os& os) {
  return {
      {.name = "kernel",
       .value = first_line(os, "/proc/sys/kernel/osrelease"),
       .is_fine = true,
       .remedy = ""},
      tried("memfd with seals (anonymous segments)", try_memfd(os),
            "allow memfd_create in the container's seccomp profile"),
      tried("unnamed files in /dev/shm (named segments)", try_unnamed_file(os),
            "mount a tmpfs there: mount -t tmpfs none /dev/shm"),
      tried("open-file locks (who is attached)", try_locks(os),
            "allow fcntl(F_OFD_SETLK) in the container's seccomp profile"),
      tried("populating pages in advance", try_populate(os),
            "Linux 5.14 or newer; until then pages are touched one by one"),
      tried("asking where pages are", try_page_query(os),
            "allow move_pages in the container's seccomp profile, or run with CAP_SYS_NICE"),
  };
}

std::vector<DoctorFact> persistence_facts(Os& os) {
  const std::string mounts = dax_mounts(os);
  const std::string devices = dax_devices(os);
  return {
      {.name = "file systems with DAX",
       .value = mounts.empty() ? "none: pools live in the page cache and are synced" : mounts,
       .is_fine = true,
       .remedy = mounts.empty() ? "with persistent memory: mount -o dax=always /dev/pmem0 /mnt/pmem"
                                : ""},
      {.name = "DAX devices",
       .value = devices.empty() ? "none" : devices,
       .is_fine = true,
       .remedy = ""},
      library_fact(os, "PMDK, libpmem2", "libpmem2.so.", "apt-get install libpmem2-1"),
      library_fact(os, "PMDK, libpmemobj", "libpmemobj.so.", "apt-get install libpmemobj1"),
      registry_fact(os),
  };
}

}  // namespace strata::inline v0_1::tools
