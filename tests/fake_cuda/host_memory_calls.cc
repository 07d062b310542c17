// Memory of the host that the device reaches: pinned by the driver, at the address it has.
#include <sys/mman.h>

#include <cstdio>

#include "tests/fake_cuda/address_space.h"
#include "tests/fake_cuda/devices.h"
#include "tests/fake_cuda/entry.h"
#include "tests/fake_cuda/streams.h"

using namespace strata::fake_cuda;

namespace {

constexpr std::uint64_t kPage = 4096;
// More at once than the driver's page tables take (r580 and later).
constexpr std::uint64_t kTooManyBytes = std::uint64_t{512} << 30;

enum class Pages : std::uint8_t { absent, read_only, writable };

// What this process may do with all of these pages.
Pages look_at(std::uint64_t begin, std::uint64_t end) {
  std::FILE* const maps = std::fopen("/proc/self/maps", "re");
  if (!maps) return Pages::writable;
  Pages found = Pages::writable;
  char line[512];
  while (begin < end && std::fgets(line, sizeof line, maps)) {
    unsigned long long from = 0;
    unsigned long long to = 0;
    char rights[8] = {};
    if (std::sscanf(line, "%llx-%llx %7s", &from, &to, rights) != 3 || to <= begin) continue;
    if (from > begin || rights[0] != 'r') break;
    if (rights[1] != 'w') found = Pages::read_only;
    begin = to;
  }
  std::fclose(maps);
  return begin < end ? Pages::absent : found;
}

CuDevicePointer address_of(const void* pointer) {
  return reinterpret_cast<CuDevicePointer>(pointer);
}

}  // namespace

CuResult cuMemHostAlloc(void** address, std::size_t bytes, unsigned flags) {
  FAKE_CUDA_ENTER(cuMemHostAlloc);
  constexpr unsigned kKnownFlags = 7;
  FAKE_CUDA_REQUIRE(address && bytes != 0 && (flags & ~kKnownFlags) == 0, kInvalidValue);
  FAKE_CUDA_NEED_CONTEXT();
  void* const memory =
      ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  FAKE_CUDA_REQUIRE(memory != MAP_FAILED, kOutOfMemory);
  address_space().pinned[address_of(memory)] = {bytes, PinnedBy::allocation, false};
  *address = memory;
  return kSuccess;
}

CuResult cuMemFreeHost(void* address) {
  FAKE_CUDA_ENTER(cuMemFreeHost);
  FAKE_CUDA_NEED_CONTEXT();
  auto& pinned = address_space().pinned;
  const auto found = pinned.find(address_of(address));
  FAKE_CUDA_REQUIRE(found != pinned.end() && found->second.by == PinnedBy::allocation,
                    kInvalidValue);
  const std::uint64_t bytes = found->second.bytes;
  pinned.erase(found);
  // Work that is under way has the address already.
  entry.unlock();
  wait_for_all_streams();
  ::munmap(address, bytes);
  return kSuccess;
}

CuResult cuMemHostRegister(void* address, std::size_t bytes, unsigned flags) {
  FAKE_CUDA_ENTER(cuMemHostRegister);
  constexpr unsigned kKnownFlags = 15;
  FAKE_CUDA_REQUIRE(address && bytes != 0 && (flags & ~kKnownFlags) == 0, kInvalidValue);
  FAKE_CUDA_NEED_CONTEXT();
  FAKE_CUDA_REQUIRE(bytes < kTooManyBytes, kOutOfMemory);
  // The pages that hold the range, all of them.
  const CuDevicePointer begin = address_of(address) / kPage * kPage;
  const CuDevicePointer end = (address_of(address) + bytes + kPage - 1) / kPage * kPage;
  auto& pinned = address_space().pinned;
  FAKE_CUDA_REQUIRE(!overlaps(pinned, begin, end - begin), kHostMemoryAlreadyRegistered);
  const Pages pages = look_at(begin, end);
  FAKE_CUDA_REQUIRE(pages != Pages::absent, kInvalidValue);
  const bool is_read_only = (flags & kHostRegisterReadOnly) != 0;
  FAKE_CUDA_REQUIRE(pages == Pages::writable || is_read_only, kInvalidValue);
  pinned[begin] = {end - begin, PinnedBy::registration, is_read_only};
  return kSuccess;
}

CuResult cuMemHostUnregister(void* address) {
  FAKE_CUDA_ENTER(cuMemHostUnregister);
  FAKE_CUDA_NEED_CONTEXT();
  auto& pinned = address_space().pinned;
  const auto found = pinned.find(address_of(address) / kPage * kPage);
  FAKE_CUDA_REQUIRE(found != pinned.end(), kHostMemoryNotRegistered);
  FAKE_CUDA_REQUIRE(found->second.by == PinnedBy::registration, kInvalidValue);
  pinned.erase(found);
  entry.unlock();
  wait_for_all_streams();
  return kSuccess;
}

CuResult cuMemHostGetDevicePointer(CuDevicePointer* device_address, void* address, unsigned flags) {
  FAKE_CUDA_ENTER(cuMemHostGetDevicePointer);
  FAKE_CUDA_REQUIRE(device_address && flags == 0, kInvalidValue);
  FAKE_CUDA_NEED_CONTEXT();
  auto& pinned = address_space().pinned;
  FAKE_CUDA_REQUIRE(find_holder(pinned, address_of(address)) != pinned.end(), kInvalidValue);
  *device_address = address_of(address);
  return kSuccess;
}
