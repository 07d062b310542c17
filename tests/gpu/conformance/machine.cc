#include "tests/gpu/conformance/machine.h"

#include <dlfcn.h>
#include <sys/mman.h>
#include <unistd.h>

#include <array>

namespace strata::inline v0_1::conformance {
namespace {

constexpr const char* kStoreKernel = R"(
.version 7.0
.target sm_70
.address_size 64
.visible .entry fake_fill(.param .u64 address, .param .u64 bytes, .param .u8 value)
{
  .reg .pred %p<2>;
  .reg .b16 %h<2>;
  .reg .b64 %d<4>;
  ld.param.u64 %d1, [address];
  ld.param.u64 %d2, [bytes];
  ld.param.u8 %h1, [value];
  add.u64 %d3, %d1, %d2;
NEXT:
  setp.ge.u64 %p1, %d1, %d3;
  @%p1 bra DONE;
  st.global.u8 [%d1], %h1;
  add.u64 %d1, %d1, 1;
  bra NEXT;
DONE:
  ret;
}
)";

// What a row needs before it can ask.
void need(CuResult result, const char* what) {
  if (result == kSuccess) return;
  give_up(std::string(what) + " failed: " + std::to_string(static_cast<int>(result)));
}

}  // namespace

Calls::Calls(const Place& place)
    : library_(::dlopen(place.library.c_str(), RTLD_NOW | RTLD_LOCAL)) {
  if (!library_) give_up(std::string("no driver: ") + ::dlerror());
  using GetProcAddress = CuResult(const char*, void**, int, std::uint64_t, int*);
  auto* const get = find<GetProcAddress>("cuGetProcAddress_v2");
  if (!get) give_up("the driver has no cuGetProcAddress_v2");
  int found = 0;
  void* address = nullptr;
#define STRATA_CONFORMANCE_FIND(name, version, need, parameters)         \
  address = nullptr;                                                     \
  (void)get(#name, &address, version, kProcAddressLegacyStream, &found); \
  table_.name = reinterpret_cast<decltype(table_.name)>(address);        \
  if (!table_.name) give_up("the driver has no " #name);
  STRATA_CUDA_CALLS(STRATA_CONFORMANCE_FIND)
#undef STRATA_CONFORMANCE_FIND
}

void* Calls::find_symbol(const char* symbol) const { return ::dlsym(library_, symbol); }

Machine::Machine(const Place& place, int device) : place_(place), calls_(place) {
  need(call().cuInit(0), "cuInit");
  need(call().cuDeviceGetCount(&device_count_), "cuDeviceGetCount");
  need(call().cuDeviceGet(&device_, device < 0 ? device_count_ - 1 : device), "cuDeviceGet");
  CuContext context = nullptr;
  need(call().cuDevicePrimaryCtxRetain(&context, device_), "cuDevicePrimaryCtxRetain");
  need(call().cuCtxPushCurrent(context), "cuCtxPushCurrent");
  const CuAllocationProperties wanted = properties();
  need(call().cuMemGetAllocationGranularity(&granularity_, &wanted, kGranularityMinimum),
       "cuMemGetAllocationGranularity");
  std::array<char, 256> name{};
  need(call().cuDeviceGetName(name.data(), static_cast<int>(name.size()) - 1, device_),
       "cuDeviceGetName");
  name_ = name.data();
}

int Machine::attribute(CuDeviceAttribute attribute) const {
  int value = 0;
  need(call().cuDeviceGetAttribute(&value, attribute, device_), "cuDeviceGetAttribute");
  return value;
}

CuAllocationProperties Machine::properties(int handle_types) const {
  CuAllocationProperties wanted{};
  wanted.type = kAllocationPinned;
  wanted.requested_handle_types = handle_types;
  wanted.location = {kLocationDevice, device_};
  return wanted;
}

CuAllocation Machine::create(std::size_t granules, int handle_types) const {
  CuAllocation made = 0;
  const CuAllocationProperties wanted = properties(handle_types);
  need(call().cuMemCreate(&made, granules * granularity_, &wanted, 0), "cuMemCreate");
  return made;
}

CuDevicePointer Machine::reserve(std::size_t granules) const {
  CuDevicePointer address = 0;
  need(call().cuMemAddressReserve(&address, granules * granularity_, 0, 0, 0),
       "cuMemAddressReserve");
  return address;
}

int Machine::export_fd(CuAllocation allocation) const {
  int fd = -1;
  need(call().cuMemExportToShareableHandle(&fd, allocation, kHandleTypePosixFd, 0),
       "cuMemExportToShareableHandle");
  return fd;
}

CuResult Machine::import(int fd, CuAllocation* allocation) const {
  return call().cuMemImportFromShareableHandle(
      allocation, reinterpret_cast<void*>(static_cast<std::intptr_t>(fd)), kHandleTypePosixFd);
}

CuResult Machine::set_access(CuDevicePointer address, int flags, std::size_t granules) const {
  const CuAccess access{{kLocationDevice, device_}, flags};
  return call().cuMemSetAccess(address, granules * granularity_, &access, 1);
}

CuDevicePointer Machine::map_new(std::size_t granules) const {
  const CuAllocation allocation = create(granules);
  const CuDevicePointer address = reserve(granules);
  need(call().cuMemMap(address, granules * granularity_, 0, allocation, 0), "cuMemMap");
  need(set_access(address, kAccessReadWrite, granules), "cuMemSetAccess");
  need(call().cuMemRelease(allocation), "cuMemRelease");
  return address;
}

CuDevicePointer Machine::map(CuAllocation allocation, int access) const {
  const CuDevicePointer address = reserve();
  need(call().cuMemMap(address, granularity_, 0, allocation, 0), "cuMemMap");
  if (access >= 0) need(set_access(address, access), "cuMemSetAccess");
  return address;
}

CuDevicePointer Machine::allocate(std::size_t bytes) const {
  CuDevicePointer address = 0;
  need(call().cuMemAlloc(&address, bytes), "cuMemAlloc");
  return address;
}

CuStream Machine::stream() const {
  CuStream made = nullptr;
  need(call().cuStreamCreate(&made, kStreamNonBlocking), "cuStreamCreate");
  return made;
}

CuResult Machine::run_store_kernel(CuDevicePointer address, std::uint64_t bytes,
                                   std::uint8_t value) const {
  CuModule module = nullptr;
  CuFunction function = nullptr;
  need(call().cuModuleLoadData(&module, kStoreKernel), "cuModuleLoadData");
  need(call().cuModuleGetFunction(&function, module, "fake_fill"), "cuModuleGetFunction");
  void* parameters[] = {&address, &bytes, &value};
  need(call().cuLaunchKernel(function, 1, 1, 1, 1, 1, 1, 0, nullptr, parameters, nullptr),
       "cuLaunchKernel");
  return call().cuCtxSynchronize();
}

CuResult Machine::write_word(CuDevicePointer address, std::uint64_t value) const {
  return call().cuMemcpyHtoD(address, &value, sizeof value);
}

CuResult Machine::read_word(CuDevicePointer address, std::uint64_t* value) const {
  return call().cuMemcpyDtoH(value, address, sizeof *value);
}

std::uint64_t* shared_words() {
  constexpr std::size_t kBytes = 4096;
  void* const memory =
      ::mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) give_up("no memory");
  return static_cast<std::uint64_t*>(memory);
}

}  // namespace strata::inline v0_1::conformance
