// What is to be seen of a timeline from outside.
#pragma once

#include <cstdint>
#include <vector>

#include "gpu/timeline_page.h"
#include "os/os.h"
#include "segment/lease.h"
#include "strata/base/result.h"

namespace strata::inline v0_1::cuda {

// A slot that somebody has claimed, for tools and messages: no driver, no mapping.
struct TimelineSlotStat {
  unsigned slot = 0;
  SlotState state = SlotState::live;
  std::uint32_t epoch = 0;
  std::uint64_t signalled = 0;  // the last signal, as far as it can be told
  std::uint32_t owner_pid = 0;
  bool is_owner_alive = false;
};

// Of the header's file `fd`, with the locks of the segment in `range`. Errors: corrupt where the
// file has no timeline page.
Result<std::vector<TimelineSlotStat>> stat_timeline(Os& os, LockRange range);

}  // namespace strata::inline v0_1::cuda
