// A Mapping is the resource behind a Segment: memory that one backend mapped into this process.
// Users never see it. What is common to all kinds (checks, hashes, states) is in Segment; a
// mapping supplies what only its backend can do.
//   Threads:  const members any; growing, sealing one thread at a time.
//   Lifetime: destruction unmaps and ends the lease; it never removes the named thing, except
//             where the lifetime asked for at creation says so.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/result.h"
#include "segment/durability.h"
#include "segment/header.h"
#include "segment/lease.h"
#include "segment/options.h"

namespace strata {

class Mapping {
 public:
  virtual ~Mapping() = default;

  // The header page, mapped for as long as the mapping lives; writable where access is.
  virtual HeaderPage& header() = 0;
  virtual Access access() const = 0;
  // Start of the payload's address space, max_bytes long; only the first payload_bytes of it
  // hold memory.
  virtual Result<std::byte*> host_payload() = 0;
  virtual LockRange lock_range() const = 0;
  virtual Os& os() = 0;

  // How many payload bytes really exist now, asked of the kernel: what the header says is
  // believed only up to here.
  virtual Result<std::uint64_t> existing_bytes() = 0;
  // Makes payload bytes [from, to) exist, placed and committed as at creation.
  virtual Result<void> extend(std::uint64_t from_bytes, std::uint64_t to_bytes) = 0;
  // Whether freeze() is this user's to do, asked before anything is changed for good.
  // Errors: permission_denied, naming who may.
  virtual Result<void> check_may_freeze() { return {}; }
  // Makes this mapping, and where the kernel can the object itself, unwritable.
  virtual Result<void> freeze() = 0;

  virtual Durability& durability() { return volatile_durability(); }
  // Descriptors that must travel with the handle; borrowed, and none for a named segment.
  virtual std::vector<int> descriptors() const { return {}; }
};

}  // namespace strata
