// Names, places and rights of the files behind "shm:" segments.
//   Threads:  any.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"
#include "os/os.h"
#include "segment/options.h"

namespace strata {

inline constexpr std::string_view kShmFilePrefix = "strata.";

std::string shm_file_name(std::string_view name);

// A failed open with the reason that a person needs: whose segment it is, that it is sealed.
Status explain_open_failure(Os& os, const std::string& path, Access access, const Status& failure);

// The directory that holds the names, opened once: what is looked at beneath it and what is removed
// are entries of one directory, and no symbolic link is followed.
class ShmDirectory {
 public:
  static Result<ShmDirectory> open(Os& os, const std::string& path);

  // Opens a file to read its header.
  Result<Fd> open_to_look(const std::string& file_name) const;
  // Opens a file to lock and remove it. A sealed one has no write permission left, but its owner
  // may give it back for a moment: the header goes on saying `sealed`.
  Result<Fd> open_to_change(const std::string& file_name) const;
  // Whether the name still means the open file: it may have been removed and made anew.
  Result<bool> is_same_file(int fd, const std::string& file_name) const;
  Result<struct stat> stat(const std::string& file_name) const;
  // Errors: permission_denied naming whose the file is; it is then as before.
  Result<void> unlink(const std::string& file_name) const;
  Result<void> rename(const std::string& from, const std::string& to) const;

 private:
  ShmDirectory(Os& os, Fd fd) : os_(&os), fd_(std::move(fd)) {}
  Unexpected explain_refusal(const std::string& file_name, const Status& failure) const;

  Os* os_;
  Fd fd_;
};

}  // namespace strata
