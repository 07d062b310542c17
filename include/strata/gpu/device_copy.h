// cuda::copy() copies between any two segments, on the caller's stream where there is a direct way,
// and says which way it went.
//
//     STRATA_ASSIGN(const CopyOnStream done, cuda::copy(batch, weights, stream));
//     if (done.path == CopyPath::staged) log(done.why);
//
//   Threads:  any; as Segment for the target.
//   Lifetime: what was only begun needs both segments, and the DeviceView of one that is mapped,
//             until the stream has passed it.
//   Errors:   invalid_argument for a range that is not within a segment, or that overlaps the one
//             that it is copied from; failed_precondition where the target is attached read-only or
//             sealed; timed_out where the device comes no further (CopyRange::timeout_ms): then
//             what was begun goes on, and neither segment may be detached before a later wait for
//             the device succeeds; else as the driver's. The target is then unspecified.
//   Cost:     directly: three calls of the driver; the first time between two devices two more, and
//             nine on the default stream. Staged: waits for the stream, and goes through
//             pinned memory at most at the speed of the host's memory.
//   Persists: no: call settle() of a target in a pool, once the copy is done.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "strata/base/result.h"
#include "strata/gpu/cuda_types.h"
#include "strata/segment/segment.h"

#pragma GCC visibility push(default)
namespace strata::inline v0_1::cuda {

enum class CopyPath : std::uint8_t {
  on_device,  // within the memory of one device
  peer,       // between two devices, over the bus or the links between them
  pinned,     // between a device and host memory that is mapped to it
  staged,     // through pinned buffers of ours: there is no direct way, and `why` says why
  host,       // between two segments that the host addresses
};
std::string_view copy_path_name(CopyPath path);

enum class CopyState : std::uint8_t {
  begun,  // it is on the stream
  done,
};

struct CopyOnStream {
  CopyPath path = CopyPath::host;
  CopyState state = CopyState::done;
  std::uint64_t bytes = 0;
  // Why there was no direct way, and what would make one; empty where there was.
  std::string why = {};
};

struct CopyRange {
  std::uint64_t from_offset_bytes = 0;
  std::uint64_t to_offset_bytes = 0;
  // Nothing: up to the end of what is copied.
  std::optional<std::uint64_t> bytes = {};
  // How long a staged copy waits at most for a device to come further: for what is on the stream,
  // and then for each piece. What is only begun waits for nothing.
  std::uint64_t timeout_ms = 60'000;
};

// `stream` belongs to the primary context of the device that the memory is mapped into, or of
// either of two; null is the default stream: of both, where there are two. The copy comes after
// what is on it.
Result<CopyOnStream> copy(const Segment& from, Segment& to, CuStream stream, CopyRange range = {});

}  // namespace strata::inline v0_1::cuda
#pragma GCC visibility pop
