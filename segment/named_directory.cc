#include "segment/named_directory.h"

#include <fcntl.h>
#include <fmt/format.h>

namespace strata::inline v0_1 {

Result<NamedDirectory> NamedDirectory::open(Os& os, const std::string& path) {
  STRATA_ASSIGN(Fd fd, os.open(path, O_PATH | O_DIRECTORY));
  return NamedDirectory(os, std::move(fd));
}

Result<Fd> NamedDirectory::open_to_look(const std::string& file_name) const {
  return os_->open_at(fd_.get(), file_name, O_RDONLY | O_NONBLOCK | O_NOCTTY);
}

Result<Fd> NamedDirectory::open_to_change(const std::string& file_name) const {
  const int flags = O_NONBLOCK | O_NOCTTY;
  auto writable = os_->open_at(fd_.get(), file_name, O_RDWR | flags);
  if (writable || writable.error().code() != Code::permission_denied) return writable;
  const auto readable = open_to_look(file_name);
  if (!readable) return explain_refusal(file_name, writable.error());
  STRATA_ASSIGN(const struct stat facts, os_->fstat(readable->get()));
  if (facts.st_uid != os_->identity().uid) {
    return fail(Code::permission_denied, fmt::format("it belongs to uid {}", facts.st_uid));
  }
  STRATA_TRY(os_->fchmod(readable->get(), facts.st_mode | 0200));
  auto reopened = os_->reopen(readable->get(), O_RDWR | flags);
  STRATA_TRY(os_->fchmod(readable->get(), facts.st_mode & 07777));
  return reopened;
}

Result<bool> NamedDirectory::is_same_file(int fd, const std::string& file_name) const {
  STRATA_ASSIGN(const struct stat open_file, os_->fstat(fd));
  const auto named = stat(file_name);
  if (!named) {
    if (named.error().code() == Code::not_found) return false;
    return unexpected(named.error());
  }
  return open_file.st_ino == named->st_ino && open_file.st_dev == named->st_dev;
}

Result<struct stat> NamedDirectory::stat(const std::string& file_name) const {
  return os_->stat_at(fd_.get(), file_name);
}

Result<void> NamedDirectory::unlink(const std::string& file_name) const {
  auto done = os_->unlink_at(fd_.get(), file_name);
  if (!done) return explain_refusal(file_name, done.error());
  return done;
}

Result<void> NamedDirectory::rename(const std::string& from, const std::string& to) const {
  auto done = os_->rename_at(fd_.get(), from, to);
  if (!done) return explain_refusal(from, done.error());
  return done;
}

Unexpected NamedDirectory::explain_refusal(const std::string& file_name,
                                           const Status& failure) const {
  const auto facts = stat(file_name);
  if (failure.code() != Code::permission_denied || !facts) return unexpected(failure);
  return unexpected(Status(Code::permission_denied,
                           fmt::format("it belongs to uid {} with mode {:04o}: that user or root "
                                       "can remove it",
                                       facts->st_uid, facts->st_mode & 07777),
                           failure.sys_errno()));
}

}  // namespace strata::inline v0_1
