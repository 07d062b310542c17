// A PoolHold keeps others off a pool's file without libpmemobj, which cannot open every damaged
// pool, and without writing a byte of it: it has libpmemobj's own lock, so that nothing changes the
// directory or the heap, and locks over those of all slots.
//   Threads:  one at a time.
//   Lifetime: until it is destroyed, or the process dies.
//   Errors:   timed_out with the holder named where the pool's lock stays taken;
//             failed_precondition with the holders named where processes are attached;
//             take_after: what `look` fails with.
//   Cost:     some system calls; looking for writers takes one for each slot.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "os/os.h"
#include "pmem/pool_file.h"
#include "strata/base/result.h"
#include "strata/os/deadline.h"

namespace strata::inline v0_1 {

// Who must not be there, and cannot come meanwhile.
enum class KeepOut : std::uint8_t { writers, everybody };

class PoolHold {
 public:
  // Errors: permission_denied too; keeping everybody out takes the right to write.
  static Result<PoolHold> take(Os& os, const std::string& path, KeepOut whom, Deadline deadline);
  // libpmemobj cannot look at a pool whose lock we have. So `look` comes first, on the file as it
  // is then, and again until nobody has changed the pool between it and the hold. It returns
  // whether it saw the pool: others may have held it.
  using Look = std::function<Result<bool>(const PoolFile& file)>;
  static Result<PoolHold> take_after(Os& os, const std::string& path, KeepOut whom,
                                     Deadline deadline, const Look& look);

  // Readable; what its directory says is not checked.
  const PoolFile& file() const { return file_; }

 private:
  explicit PoolHold(PoolFile file) : file_(std::move(file)) {}
  Result<void> lock_file(Deadline deadline);
  std::vector<FileRange> ranges_to_lock(KeepOut whom) const;
  Result<void> lock_slots(KeepOut whom) const;
  Result<std::string> find_attached(std::uint64_t byte, std::uint64_t count) const;

  PoolFile file_;
};

// The file, also where PoolFile::open refuses what stands in it. Errors: invalid_argument.
Result<PoolFile> open_unchecked(Os& os, const std::string& path, int flags);

}  // namespace strata::inline v0_1
