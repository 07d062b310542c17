// Who a file belongs to, and what else is noted on it.
#include <linux/limits.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <vector>

#include "os/os.h"
#include "os/os_internal.h"

namespace strata::inline v0_1 {

Result<void> Os::fchown(int fd, uid_t owner, gid_t group) {
  STRATA_OS_CALL(rc, "fchown",
                 "give to uid " + std::to_string(owner) + ", gid " + std::to_string(group),
                 ::fchown(fd, owner, group));
  return {};
}

Result<std::vector<std::string>> Os::list_attributes(int fd) {
  std::string names(XATTR_LIST_MAX, '\0');
  if (const int injected = before("flistxattr")) {
    return unexpected(status_from_errno(injected, "list extended attributes"));
  }
  const ssize_t bytes = ::flistxattr(fd, names.data(), names.size());
  if (bytes < 0 && errno == ENOTSUP) return std::vector<std::string>{};
  if (bytes < 0) return unexpected(status_from_errno(errno, "list extended attributes"));
  std::vector<std::string> found;
  for (std::size_t at = 0; at < static_cast<std::size_t>(bytes);) {
    found.emplace_back(names.c_str() + at);
    at += found.back().size() + 1;
  }
  return found;
}

Result<std::string> Os::get_attribute(int fd, const std::string& name) {
  std::string value(XATTR_SIZE_MAX, '\0');
  STRATA_OS_CALL(bytes, "fgetxattr", "read attribute " + name,
                 ::fgetxattr(fd, name.c_str(), value.data(), value.size()));
  value.resize(static_cast<std::size_t>(bytes));
  return value;
}

Result<void> Os::set_attribute(int fd, const std::string& name, const std::string& value) {
  STRATA_OS_CALL(rc, "fsetxattr", "set attribute " + name,
                 ::fsetxattr(fd, name.c_str(), value.data(), value.size(), 0));
  return {};
}

Result<void> Os::remove_attribute(int fd, const std::string& name) {
  STRATA_OS_CALL(rc, "fremovexattr", "remove attribute " + name, ::fremovexattr(fd, name.c_str()));
  return {};
}

}  // namespace strata::inline v0_1
