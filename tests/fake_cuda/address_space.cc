#include "tests/fake_cuda/address_space.h"

#include <sys/mman.h>

namespace strata::inline v0_1::fake_cuda {

AddressSpace& address_space() {
  static auto& space = *new AddressSpace;
  return space;
}

CuDevicePointer reserve_addresses(std::uint64_t bytes) {
  const std::uint64_t all = bytes + kGranularity;
  void* const memory =
      ::mmap(nullptr, all, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) return 0;
  const auto begin = reinterpret_cast<std::uintptr_t>(memory);
  const std::uintptr_t aligned = (begin + kGranularity - 1) & ~(kGranularity - 1);
  const auto drop = [](std::uintptr_t from, std::uintptr_t to) {
    if (to > from) ::munmap(reinterpret_cast<void*>(from), to - from);
  };
  drop(begin, aligned);
  drop(aligned + bytes, begin + all);
  address_space().reservations[aligned] = bytes;
  return aligned;
}

void free_addresses(CuDevicePointer address) {
  const auto found = address_space().reservations.find(address);
  if (found == address_space().reservations.end()) return;
  ::munmap(reinterpret_cast<void*>(address), found->second);
  address_space().reservations.erase(found);
}

bool is_device_address(CuDevicePointer address) {
  auto& reservations = address_space().reservations;
  return find_holder(reservations, address) != reservations.end();
}

char* find_bytes(CuDevicePointer address, std::uint64_t bytes, int access, CuDevice device,
                 Asker asker) {
  AddressSpace& space = address_space();
  if (const auto found = find_holder(space.mappings, address); found != space.mappings.end()) {
    const Mapping& mapping = found->second;
    const std::uint64_t offset = address - found->first;
    if (bytes > mapping.bytes - offset) return nullptr;
    const auto allowed = mapping.access.find(device);
    if (allowed == mapping.access.end() || (allowed->second & access) != access) return nullptr;
    return mapping.memory->bytes() + offset;
  }
  if (is_device_address(address)) return nullptr;
  const auto pinned = find_holder(space.pinned, address);
  if (pinned == space.pinned.end()) {
    return asker == Asker::copy ? reinterpret_cast<char*>(address) : nullptr;
  }
  if (bytes > pinned->second.bytes - (address - pinned->first)) return nullptr;
  if (pinned->second.is_read_only && access != kAccessRead) return nullptr;
  return reinterpret_cast<char*>(address);
}

}  // namespace strata::inline v0_1::fake_cuda
