// The logs of libpmemobj 1.12's lanes, of which each thread that changes a pool uses one: for its
// own heap, for commits, and for what a transaction that is not committed has overwritten (undo).
//   Threads:  values.
//   Errors:   those of the file; nothing is said of lanes that are not where they have to be, which
//             libpmemobj's open refuses.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "os/os.h"
#include "strata/base/result.h"

namespace strata::inline v0_1 {

class ObjectPool;

struct LogHead {
  std::uint64_t checksum;
  std::uint64_t next;  // the offset of the log that it is extended by, or 0
  std::uint64_t capacity_bytes;
  std::uint64_t generation;  // of the entries that count
  std::uint64_t flags;
  std::array<std::uint64_t, 3> unused;
};
static_assert(sizeof(LogHead) == 64);
inline constexpr std::uint64_t kMaxLanes = 1024;
inline constexpr std::uint64_t kLaneBytes = 3072;
inline constexpr std::uint64_t kInternalLogAt = 0;
inline constexpr std::uint64_t kExternalLogAt = 256;
inline constexpr std::uint64_t kUndoLogAt = 960;
inline constexpr std::uint64_t kInternalLogBytes = 192;
inline constexpr std::uint64_t kExternalLogBytes = 640;
inline constexpr std::uint64_t kUndoLogBytes = 2048;

// What tells one state of an undo log from the next.
struct UndoLog {
  std::uint64_t next;
  std::uint64_t generation;
  bool operator==(const UndoLog&) const = default;
};
// Those of all lanes as the file has them: also beneath a copy-on-write mapping.
Result<std::vector<UndoLog>> undo_logs_in_file(Os& os, const std::string& path);
// As libpmemobj has left them in its mapping.
std::vector<UndoLog> undo_logs_of(const ObjectPool& pool);
// Whether one is extended: a transaction is open, or its process was killed in it or at its end.
bool is_any_extended(const std::vector<UndoLog>& logs);

}  // namespace strata::inline v0_1
