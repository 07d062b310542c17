// A private copy of all that libpmemobj reads of a pool, as it was at one moment at which nobody
// had the pool open through libpmemobj. What is found wrong in it is wrong, and no half of a
// change that went on; and whatever is done to it, the pool stays as it is.
//   Threads:  one at a time; forked children can use it too.
//   Lifetime: its memory is given back with the last descriptor.
//   Errors:   take: timed_out with the holder named, where the pool stays held; exhausted where
//             memory does not suffice; permission_denied where it may not be read.
//   Cost:     memory, and reads, for the tables and small objects. What programs put into large
//             objects and what is free is left out, and so are the segments' payloads. Who wants
//             to change the pool waits that long.
//   Persists: nothing.
// The right to write is not needed, nor a medium that can be written to.
#pragma once

#include <string>

#include "os/os.h"
#include "pmem/pool_file.h"
#include "strata/base/result.h"
#include "strata/os/deadline.h"

namespace strata::inline v0_1 {

class PoolCopy {
 public:
  static Result<PoolCopy> take(Os& os, const std::string& path, Deadline deadline);

  // A name of the copy that this process and its children can open.
  std::string path() const;
  // `text` with the pool's own name for that, which says nothing to people.
  std::string with_original_name(std::string text) const;
  // The pool's own file, for what is not in the copy.
  const std::string& original_path() const { return original_path_; }
  int original_fd() const { return original_.get(); }

  // A changer died: its transaction is still in the logs. Nobody can use the pool before that is
  // completed or rolled back, and this object keeps everybody from doing so while it lives.
  bool is_interrupted() const { return is_interrupted_; }
  // After libpmemobj has recovered the copy: its directory can be read then.
  Result<void> declare_recovered();

 private:
  Result<void> lock(Deadline deadline);
  Result<void> copy();

  Os* os_ = nullptr;
  std::string original_path_;
  Fd original_;
  Fd memory_;
  bool is_interrupted_ = false;
};

}  // namespace strata::inline v0_1
