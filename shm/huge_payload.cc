#include "shm/huge_payload.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/magic.h>

#include <sstream>

#include "strata/base/bytes.h"

namespace strata::inline v0_1 {
namespace {

constexpr int kDirectoryFlags = O_PATH | O_DIRECTORY;

struct Directory {
  Fd fd;
  std::string path;
};

Result<Directory> open_hugetlbfs(Os& os, std::uint64_t page_bytes) {
  STRATA_ASSIGN(const std::string mounts, os.read_file("/proc/mounts"));
  std::istringstream lines(mounts);
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line);
    std::string device, directory, type;
    words >> device >> directory >> type;
    if (type != "hugetlbfs") continue;
    // Another file system may be mounted over it by now: the open directory is asked, not the line.
    auto opened = os.open(directory, kDirectoryFlags);
    if (!opened) continue;
    const auto facts = os.fstatfs(opened->get());
    if (facts && static_cast<std::uint64_t>(facts->f_type) == HUGETLBFS_MAGIC &&
        static_cast<std::uint64_t>(facts->f_bsize) == page_bytes) {
      return Directory{std::move(*opened), std::move(directory)};
    }
  }
  const char* const size = page_bytes == GiB(1) ? "1G" : "2M";
  return fail(Code::unsupported,
              fmt::format("no hugetlbfs with {} pages is mounted; as root: mkdir -p /dev/huge{} && "
                          "mount -t hugetlbfs -o pagesize={},mode=1777 none /dev/huge{}",
                          format_bytes(page_bytes), size, size, size));
}

Result<Directory> open_directory(Os& os, const std::string& chosen, std::uint64_t page_bytes) {
  if (chosen.empty()) return open_hugetlbfs(os, page_bytes);
  STRATA_ASSIGN(Fd opened, os.open(chosen, kDirectoryFlags));
  return Directory{std::move(opened), chosen};
}

}  // namespace

Result<HugePayload> HugePayload::locate(Os& os, const std::string& directory, const SegmentUri& uri,
                                        const IdentityBlock& identity) {
  STRATA_TRY(check_name(uri.name));
  if (identity.page_bytes != MiB(2) && identity.page_bytes != GiB(1)) {
    return fail(Code::corrupt,
                fmt::format("header: a file of its own in pages of {} bytes", identity.page_bytes));
  }
  STRATA_ASSIGN(Directory opened, open_directory(os, directory, identity.page_bytes));
  return HugePayload(os, std::move(opened.fd), std::move(opened.path),
                     fmt::format("strata.{}.{}", uri.name, uuid_text(identity.uuid)));
}

Result<void> HugePayload::check_owned(const struct stat& facts, uid_t owner) const {
  if (facts.st_uid != owner) {
    return fail(Code::permission_denied,
                fmt::format("its payload {}/{} belongs to uid {}, and the segment to uid {}; "
                            "remove by hand what is wrong",
                            directory_path_, name_, facts.st_uid, owner));
  }
  if (!S_ISREG(facts.st_mode)) {
    return fail(Code::corrupt,
                fmt::format("its payload {}/{} is not a regular file", directory_path_, name_));
  }
  return {};
}

Result<Fd> HugePayload::create(mode_t mode) const {
  STRATA_ASSIGN(Fd file, os_->open_at(directory_.get(), name_, O_CREAT | O_EXCL | O_RDWR, mode));
  // The umask may have taken bits away that were asked for.
  if (mode & 0077) STRATA_TRY(os_->fchmod(file.get(), mode));
  return file;
}

Result<Fd> HugePayload::open(uid_t owner, int flags) const {
  // O_PATH touches nothing: what is opened for use is the very file that was looked at.
  STRATA_ASSIGN(const Fd file, os_->open_at(directory_.get(), name_, O_PATH));
  STRATA_ASSIGN(const struct stat facts, os_->fstat(file.get()));
  STRATA_TRY(check_owned(facts, owner));
  return os_->reopen(file.get(), flags);
}

Result<struct stat> HugePayload::stat(uid_t owner) const {
  STRATA_ASSIGN(const struct stat facts, os_->stat_at(directory_.get(), name_));
  STRATA_TRY(check_owned(facts, owner));
  return facts;
}

Result<void> HugePayload::unlink(uid_t owner) const {
  STRATA_TRY(stat(owner));
  auto done = os_->unlink_at(directory_.get(), name_);
  if (done || done.error().code() != Code::permission_denied) return done;
  return fail(Code::permission_denied,
              fmt::format("its payload {}/{} belongs to uid {}: that user or root can remove it",
                          directory_path_, name_, owner));
}

}  // namespace strata::inline v0_1
