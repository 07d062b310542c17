// How segments look in tables and in JSON: the names of enumerators, one segment as JSON, and
// who holds it. Keys are documented in docs/guides/cli.md and stable.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "segment/backend.h"
#include "segment/lease.h"
#include "strata/segment/catalog.h"
#include "strata/sync/robust_mutex.h"
#include "tools/terminal/output.h"

namespace strata::inline v0_1::tools {

// "until-removed", "2M": as the flags spell them.
std::string_view lifetime_name(Lifetime lifetime);
std::string_view page_size_name(PageSize size);

Cell state_cell(SegmentState state);
// "writers", "readers" or "-".
Cell use_cell(const SegmentStat& stat);

// Bytes that it takes on a device, and where that is; "-" for memory that is on none.
Cell device_bytes_cell(const SegmentStat& stat);
Cell placement_cell(const SegmentStat& stat);
// "<f8 1000x3", "strata.Lock"; "-" of plain bytes.
Cell content_cell(const SegmentStat& stat);
// Also while its creator has not said yet on which device.
bool is_device_memory(const SegmentStat& stat);

// "2026-11-21T20:15:02Z"
std::string utc_time(std::uint64_t unix_ns);
// "4 min": since then, in the largest unit.
std::string age(std::uint64_t since_unix_ns);

Json to_json(const SegmentStat& stat);
// Null of plain bytes; `problem` where it cannot be told.
Json to_json(const Result<Content>& content);
Json to_json(const DeviceStat& device);
Json to_json(const Status& status);
Json to_json(const std::vector<Holder>& holders);
// `where`, `code` and `message` of each.
Json to_json(const std::vector<BackendProblem>& problems);

// "; 2 places could not be looked at", or nothing.
std::string unseen_text(const std::vector<BackendProblem>& problems);

// Before anything is attached, which takes a driver where the memory is on a device.
// Errors: unsupported, with what this kind of memory cannot and why.
Result<void> require(Catalog& catalog, const std::string& uri, Capability capability);

// Everyone attached to the segment but this process.
std::vector<Holder> other_holders(Os& os, LockRange range);

// "free", "held", "owner-died", "unrepaired" or "corrupt", in a segment of that generation. `range`
// is the segment's: whether a holder lives is asked of the kernel.
std::string_view lock_state(Os& os, LockRange range, const LockReport& report, bool is_intact,
                            std::uint64_t generation);

}  // namespace strata::inline v0_1::tools
