// The directory that holds named header files, opened once: what is looked at beneath it and what
// is removed are entries of one directory, and no symbolic link is followed.
//   Threads:  any.
//   Errors:   as the system calls; permission_denied names whose the file is.
#pragma once

#include <string>

#include "os/os.h"
#include "strata/base/result.h"

namespace strata::inline v0_1 {

class NamedDirectory {
 public:
  static Result<NamedDirectory> open(Os& os, const std::string& path);

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
  NamedDirectory(Os& os, Fd fd) : os_(&os), fd_(std::move(fd)) {}
  Unexpected explain_refusal(const std::string& file_name, const Status& failure) const;

  Os* os_;
  Fd fd_;
};

}  // namespace strata::inline v0_1
