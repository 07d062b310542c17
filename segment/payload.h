// A Payload is what one backend supplies behind a Segment: the bytes, and what only it can do with
// them. The header page and the locks are in the HeaderPlane, alike for all. Users see neither.
//   Threads:  const members any; growing, migrating, freezing one thread at a time.
//   Lifetime: destruction unmaps; it never removes the named thing.
//   Errors:   where a backend does not override a function: unsupported.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "strata/base/result.h"
#include "strata/segment/device_span.h"
#include "strata/segment/durability.h"
#include "strata/segment/options.h"
#include "strata/segment/placement_report.h"

namespace strata::inline v0_1 {

struct Handle;

class Payload {
 public:
  virtual ~Payload() = default;

  // Start of the address space, max_bytes long; only the first payload_bytes of it hold memory.
  // Errors: unsupported where the host cannot address it; then read() and write() are overridden.
  virtual Result<std::byte*> host_bytes() = 0;
  virtual Result<DeviceSpan> device_bytes();
  // Copies to and from the host. The range lies within the payload.
  virtual Result<void> read(std::uint64_t offset_bytes, std::span<std::byte> into);
  virtual Result<void> write(std::uint64_t offset_bytes, std::span<const std::byte> from);
  // Returns once all that this process wrote is seen by whoever attaches, and as durable as the
  // memory is.
  virtual Result<void> settle(std::uint64_t payload_bytes);

  // How many payload bytes really exist now, asked of the kernel: what the header says is
  // believed only up to here.
  virtual Result<std::uint64_t> existing_bytes() = 0;
  // Makes payload bytes [from, to) exist, zero filled, placed and committed.
  virtual Result<void> extend(std::uint64_t from_bytes, std::uint64_t to_bytes) = 0;
  // Moves the first payload_bytes to where `placement` says. The caller holds the change lock.
  virtual Result<PlacementReport> migrate(const Placement& placement, std::uint64_t payload_bytes);

  // Whether freeze() is this user's to do, asked before anything is changed.
  // Errors: permission_denied, naming who may.
  virtual Result<void> check_may_freeze() { return {}; }
  // Makes the payload unwritable, then calls `record`, which stores the fact in the header, and
  // then makes the header, and where the kernel can the object itself, unwritable.
  // Errors: what `record` returns. All is then as before.
  virtual Result<void> freeze(const std::function<Result<void>()>& record) = 0;

  virtual Durability& durability() { return volatile_durability(); }
  // Fills in what only this kind of memory has in a handle.
  virtual void describe(Handle&) const {}
  // Descriptors that must travel with the handle; borrowed, and none for a named segment.
  virtual std::vector<int> descriptors() const { return {}; }
};

}  // namespace strata::inline v0_1
