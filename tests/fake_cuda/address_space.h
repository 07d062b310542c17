// Which device addresses and which pinned memory of the host this process has.
//   Threads: under driver_mutex().
//   Device addresses are reserved without any right, so that the host faults where it touches them.
#pragma once

#include <cstdint>
#include <map>
#include <memory>

#include "tests/fake_cuda/memory.h"

namespace strata::inline v0_1::fake_cuda {

enum class Origin : std::uint8_t { vmm, allocated, ipc };

struct Mapping {
  std::uint64_t bytes;
  std::shared_ptr<Memory> memory;
  Origin origin;
  CuAllocation handle = 0;           // of vmm
  std::map<CuDevice, int> access{};  // kAccessRead, kAccessReadWrite
  int opened = 1;                    // how often, of ipc
};

enum class PinnedBy : std::uint8_t { registration, allocation };
struct Pinned {
  std::uint64_t bytes;
  PinnedBy by;
  bool is_read_only;
};

struct AddressSpace {
  std::map<CuDevicePointer, std::uint64_t> reservations;  // to bytes
  std::map<CuDevicePointer, Mapping> mappings;
  std::map<CuDevicePointer, Pinned> pinned;
};
AddressSpace& address_space();

// Zero where there is none.
CuDevicePointer reserve_addresses(std::uint64_t bytes);
void free_addresses(CuDevicePointer address);

// The entry that holds `address`, or end().
template <typename Map>
auto find_holder(Map& map, CuDevicePointer address) {
  auto after = map.upper_bound(address);
  if (after == map.begin()) return map.end();
  --after;
  if constexpr (requires { after->second.bytes; }) {
    return address - after->first < after->second.bytes ? after : map.end();
  } else {
    return address - after->first < after->second ? after : map.end();
  }
}

// Whether a part of these bytes is in the map.
template <typename Map>
bool overlaps(Map& map, CuDevicePointer address, std::uint64_t bytes) {
  if (find_holder(map, address) != map.end()) return true;
  const auto next = map.lower_bound(address);
  return next != map.end() && next->first - address < bytes;
}

// Who asks for bytes: a kernel sees no pageable memory of the host.
enum class Asker : std::uint8_t { copy, kernel };
// Where the host sees these bytes, or null where `device` may not touch them so (kAccessRead,
// kAccessReadWrite).
char* find_bytes(CuDevicePointer address, std::uint64_t bytes, int access, CuDevice device,
                 Asker asker);
// Whether this is an address of a device, mapped or not.
bool is_device_address(CuDevicePointer address);

}  // namespace strata::inline v0_1::fake_cuda
