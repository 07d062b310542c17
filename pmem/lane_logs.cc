#include "pmem/lane_logs.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <cstring>
#include <span>

#include "pmem/object_pool.h"
#include "pmem/pool_format.h"
#include "strata/os/fd.h"

namespace strata::inline v0_1 {
namespace {

UndoLog undo_log_of_lane(const std::byte* lane) {
  LogHead head;
  std::memcpy(&head, lane + kUndoLogAt, sizeof head);
  return {head.next, head.generation};
}

}  // namespace

// One read of all lanes, and not one of each head: a thousand calls cost more than 3 MiB.
Result<std::vector<UndoLog>> undo_logs_in_file(Os& os, const std::string& path) {
  STRATA_ASSIGN(const Fd fd, os.open(path, O_RDONLY));
  std::array<std::uint64_t, 2> where{};  // lanes' offset, count
  static_assert(kObjLaneCountAt == kObjLanesOffsetAt + sizeof where[0]);
  STRATA_TRY(os.pread(fd.get(), std::as_writable_bytes(std::span(where)), kObjLanesOffsetAt));
  const auto [lanes_at, lanes] = where;
  if (lanes > kMaxLanes) return std::vector<UndoLog>{};
  std::vector<std::byte> bytes(lanes * kLaneBytes);
  STRATA_ASSIGN(const std::size_t read, os.pread(fd.get(), bytes, lanes_at));
  std::vector<UndoLog> logs;
  for (std::size_t at = 0; at + kLaneBytes <= read; at += kLaneBytes)
    logs.push_back(undo_log_of_lane(&bytes[at]));
  return logs;
}

std::vector<UndoLog> undo_logs_of(const ObjectPool& pool) {
  std::uint64_t lanes_at = 0;
  std::uint64_t lanes = 0;
  std::memcpy(&lanes_at, pool.at(kObjLanesOffsetAt), sizeof lanes_at);
  std::memcpy(&lanes, pool.at(kObjLaneCountAt), sizeof lanes);
  std::vector<UndoLog> logs;
  for (std::uint64_t lane = 0; lane < lanes; ++lane)
    logs.push_back(undo_log_of_lane(pool.at(lanes_at + lane * kLaneBytes)));
  return logs;
}

bool is_any_extended(const std::vector<UndoLog>& logs) {
  return std::ranges::any_of(logs, [](const UndoLog& log) { return log.next != 0; });
}

}  // namespace strata::inline v0_1
