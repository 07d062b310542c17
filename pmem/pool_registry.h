// A PoolRegistry remembers which pools a user has used on this machine, so that `strata gc` and
// `strata ls` find them: a directory of small files, one for each pool
// (docs/format/pool_registry.md).
//   Threads:  any.
//   Errors:   none reaches whoever uses a pool: what cannot be recorded is not recorded, and
//             problem() says why.
//   Cost:     a pool that is recorded already: two system calls.
//   Persists: best effort; a record is whole or not there, and is made anew at the next use.
// Nothing in it is trusted that another user could have put there: a directory or a record which is
// not owned by the effective user, or which others may write to, does not exist. What a record says
// is checked like any text from outside.
#pragma once

#include <string>
#include <vector>

#include "os/os.h"
#include "strata/base/result.h"

namespace strata::inline v0_1 {

// In the user's state directory; empty where there is none.
std::string user_pool_registry();

struct RegisteredPool {
  std::string path;         // absolute
  std::string mount_point;  // of the file system that it was on
  std::string record;       // the file's name in the registry
};

class PoolRegistry {
 public:
  // `directory` is made at the first record; where it is empty nothing is ever recorded.
  PoolRegistry(Os& os, std::string directory) : os_(os), directory_(std::move(directory)) {}

  const std::string& directory() const { return directory_; }

  // `pool_path` is there, and may be relative.
  void record(const std::string& pool_path);
  // Those of this machine, by path.
  std::vector<RegisteredPool> pools();
  // Whether there is no such file any more, although the file system is there that it was on.
  bool is_gone(const RegisteredPool& pool);
  void drop(const RegisteredPool& pool);
  // What is left of writing a record by a process that was killed at it.
  void drop_unfinished();
  // What to know of a pool whose file is not there; empty where nothing is.
  std::string explain_absence(const std::string& pool_path);

  // Why nothing can be recorded; empty where all is in order.
  std::string problem();

 private:
  enum class Missing : std::uint8_t { make, fail };

  Result<void> try_record(const std::string& pool_path);
  Result<Fd> open_directory(Missing missing);
  // Those above `directory` and itself that are still to be made, from the top.
  Result<std::vector<std::string>> missing_folders();
  Result<RegisteredPool> read_record(int directory_fd, const std::string& name);
  std::string mount_point_of(const std::string& path);

  Os& os_;
  std::string directory_;
};

}  // namespace strata::inline v0_1
