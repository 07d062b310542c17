#include "numa/shm_files.h"

#include <fcntl.h>
#include <fmt/format.h>

#include <sstream>

#include "base/bytes.h"

namespace strata {

std::string shm_path(std::string_view directory, std::string_view name) {
  return fmt::format("{}/{}{}", directory, kShmFilePrefix, name);
}

Result<std::string> find_hugetlbfs(Os& os, std::uint64_t page_bytes) {
  STRATA_ASSIGN(const std::string mounts, os.read_file("/proc/mounts"));
  std::istringstream lines(mounts);
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line);
    std::string device, directory, type;
    words >> device >> directory >> type;
    if (type != "hugetlbfs") continue;
    const auto facts = os.statfs(directory);
    if (facts && static_cast<std::uint64_t>(facts->f_bsize) == page_bytes) return directory;
  }
  const char* const size = page_bytes == GiB(1) ? "1G" : "2M";
  return fail(Code::unsupported,
              fmt::format("no hugetlbfs with {} pages is mounted; as root: mkdir -p /dev/huge{} && "
                          "mount -t hugetlbfs -o pagesize={},mode=1777 none /dev/huge{}",
                          format_bytes(page_bytes), size, size, size));
}

Status explain_open_failure(Os& os, const std::string& path, Access access, const Status& failure) {
  const auto facts = os.stat(path);
  if (failure.code() != Code::permission_denied || !facts) return failure;
  if (S_ISLNK(facts->st_mode)) return failure;
  const bool is_sealed = access == Access::read_write && (facts->st_mode & 0222) == 0;
  if (is_sealed) {
    return Status(Code::failed_precondition, "it is sealed; attach it read-only",
                  failure.sys_errno());
  }
  return Status(
      Code::permission_denied,
      fmt::format("it belongs to uid {} with mode {:04o}", facts->st_uid, facts->st_mode & 07777),
      failure.sys_errno());
}

Result<Fd> open_to_change(Os& os, const std::string& path) {
  const int flags = O_NOFOLLOW | O_NONBLOCK | O_NOCTTY;
  auto writable = os.open(path, O_RDWR | flags);
  if (writable || writable.error().code() != Code::permission_denied) return writable;
  const auto readable = os.open(path, O_RDONLY | flags);
  if (!readable)
    return unexpected(explain_open_failure(os, path, Access::read_only, writable.error()));
  STRATA_ASSIGN(const struct stat facts, os.fstat(readable->get()));
  if (facts.st_uid != os.identity().uid) {
    return fail(Code::permission_denied, fmt::format("it belongs to uid {}", facts.st_uid));
  }
  STRATA_TRY(os.fchmod(readable->get(), facts.st_mode | 0200));
  auto reopened = os.open(path, O_RDWR | flags);
  STRATA_TRY(os.fchmod(readable->get(), facts.st_mode & 07777));
  return reopened;
}

}  // namespace strata
