// Files that get their name when they are complete: until then they have none, so that a process
// that is killed leaves nothing behind. (Where the file system cannot do that they are called
// "NAME.*.new" until then.) The one way in which files are made, and put in the place of others.
//   Threads:  one at a time.
//   Lifetime: a NewFile that was given no name is gone with the object.
//   Errors:   already_exists; invalid_argument where something else than a file has the name;
//             failed_precondition where the file to be replaced has other names too (hard links),
//             which would go on to mean the old one; permission_denied where its owner, group,
//             mode or an extended attribute could not be kept. On failure nothing has changed.
//   Persists: content and name, when the call that gives the name returns.
// Symbolic links stay what they are: it is the file behind them that is replaced.
#pragma once

#include <functional>
#include <string>

#include "os/os.h"
#include "strata/base/result.h"

namespace strata::inline v0_1 {

// A file that has a name, and is about to lose it to another.
struct OldFile {
  // The file that `path` means, behind symbolic links. Errors: not_found too.
  static Result<OldFile> find(Os& os, const std::string& path);
  // Errors: failed_precondition where it has more names than those `known`.
  Result<void> require_no_other_names(std::uint64_t known = 1) const;
  // Whether it is the file behind `fd`.
  Result<bool> is_behind(int fd) const;
  // Gives it a further name, PATH + `suffix`, or where that is taken PATH + `suffix` + ".2" and so
  // on, durably. Returns which; if it has one of these already, as after a kill, that one.
  Result<std::string> keep_as(const std::string& suffix) const;
  // The name that keep_as() has given it before, or an empty one.
  std::string kept_as(const std::string& suffix) const;

  Os* os = nullptr;
  std::string path;  // without symbolic links
  Fd fd;             // for reading
  struct stat facts {};
};

class NewFile {
 public:
  // In the folder of `path`, readable and writable for its owner only.
  static Result<NewFile> make(Os& os, const std::string& path);
  NewFile(NewFile&& other) noexcept;
  NewFile& operator=(NewFile&&) = delete;
  ~NewFile();

  int fd() const { return fd_.get(); }
  // By which this process, and its children, can open it while it has no name.
  const std::string& working_path() const { return working_path_; }
  Result<void> give_name(const std::string& path);
  // With owner, group, mode and extended attributes of the old one, which loses its name.
  Result<void> replace(const OldFile& old);

 private:
  NewFile(Os& os, Fd fd) : os_(&os), fd_(std::move(fd)) {}

  Os* os_;
  Fd fd_;
  std::string working_path_;
  std::string unfinished_;  // the name that it has until then, if it has one
};

struct WriteRequest {
  std::string path;
  bool replace = false;  // a file that is there
  int source_fd = -1;    // what is read meanwhile, and must not be replaced by its own copy
};

// `write` fills a new file, which then gets the name. Errors: already_exists, unless `replace`.
Result<void> write_new_file(Os& os, const WriteRequest& request,
                            const std::function<Result<void>(int fd)>& write);

}  // namespace strata::inline v0_1
