// Reserved addresses, and what is mapped there.
#include <atomic>
#include <thread>

#include "tests/gpu/conformance/machine.h"

namespace strata::inline v0_1::conformance {
namespace {

CuResult reserve(Machine& machine, std::size_t bytes, std::size_t alignment = 0) {
  CuDevicePointer address = 0;
  return machine.call().cuMemAddressReserve(&address, bytes, alignment, 0, 0);
}

Answer ask_reserve_nothing(Machine& machine) { return codes({reserve(machine, 0)}); }
Answer ask_reserve_alignment(Machine& machine) {
  return codes({reserve(machine, machine.granularity(), 3)});
}
Answer ask_reserve_odd_size(Machine& machine) {
  return codes({reserve(machine, machine.granularity() + 1)});
}

Answer ask_free_arguments(Machine& machine) {
  const CuDevicePointer address = machine.reserve(2);
  const auto free = machine.call().cuMemAddressFree;
  return codes(
      {free(0, machine.granularity()), free(address, 0), free(address, machine.granularity())});
}

Answer ask_free_mapped(Machine& machine) {
  return codes({machine.call().cuMemAddressFree(machine.map_new(), machine.granularity())});
}

CuResult map(Machine& machine, CuDevicePointer address, std::size_t bytes, std::size_t offset,
             CuAllocation allocation) {
  return machine.call().cuMemMap(address, bytes, offset, allocation, 0);
}

Answer ask_map_offset(Machine& machine) {
  const std::size_t granule = machine.granularity();
  return codes({map(machine, machine.reserve(2), granule, granule, machine.create(2))});
}

Answer ask_map_larger(Machine& machine) {
  return codes({map(machine, machine.reserve(2), 2 * machine.granularity(), 0, machine.create())});
}

Answer ask_map_smaller(Machine& machine) {
  return codes({map(machine, machine.reserve(2), machine.granularity(), 0, machine.create(2))});
}

Answer ask_map_unaligned(Machine& machine) {
  const CuDevicePointer address = machine.reserve(2);
  const CuAllocation allocation = machine.create();
  return codes({map(machine, address, machine.granularity() - 4096, 0, allocation),
                map(machine, address + 4096, machine.granularity(), 0, allocation)});
}

Answer ask_map_twice(Machine& machine) {
  return codes({map(machine, machine.map_new(), machine.granularity(), 0, machine.create())});
}

Answer ask_map_outside(Machine& machine) {
  const CuDevicePointer address = machine.reserve();
  (void)machine.call().cuMemAddressFree(address, machine.granularity());
  return codes({map(machine, address, machine.granularity(), 0, machine.create())});
}

Answer ask_two_addresses(Machine& machine) {
  const CuAllocation allocation = machine.create();
  const CuDevicePointer one = machine.map(allocation);
  const CuDevicePointer other = machine.map(allocation);
  std::uint64_t word = 0;
  (void)machine.write_word(one, 42);
  const CuResult result = machine.read_word(other, &word);
  return result == kSuccess && word != 42 ? said("not coherent") : codes({result});
}

Answer ask_unmap_arguments(Machine& machine) {
  const CuDevicePointer address = machine.map_new(2);
  const auto unmap = machine.call().cuMemUnmap;
  const CuResult smaller = unmap(address, machine.granularity());
  const CuResult first = unmap(address, 2 * machine.granularity());
  if (first != kSuccess) return said("the first unmap gave " + codes({first}).text);
  return codes({smaller, unmap(address, 2 * machine.granularity())});
}

Answer ask_unmap_waits(Machine& machine) {
  std::uint64_t* const word = shared_words();
  (void)machine.call().cuMemHostRegister(word, 4096, kHostRegisterDeviceMap);
  CuDevicePointer device_word = 0;
  (void)machine.call().cuMemHostGetDevicePointer(&device_word, word, 0);
  const CuDevicePointer address = machine.map_new();
  const CuStream stream = machine.stream();
  (void)machine.call().cuStreamWaitValue64(stream, device_word, 1, kWaitValueGeq);
  (void)machine.call().cuMemsetD8Async(address, 1, 64, stream);
  std::atomic<bool> has_returned{false};
  std::thread unmapper([&] {
    (void)machine.call().cuMemUnmap(address, machine.granularity());
    has_returned = true;
  });
  // Long enough for a call that does not wait; one that does is still there however long this is.
  std::this_thread::sleep_for(std::chrono::milliseconds(200));
  const bool does_wait = !has_returned;
  __atomic_store_n(word, 1, __ATOMIC_RELEASE);
  unmapper.join();
  return said(does_wait ? "waits" : "does not wait");
}

Answer ask_retain_unmapped(Machine& machine) {
  CuAllocation allocation = 0;
  const auto retain = machine.call().cuMemRetainAllocationHandle;
  const CuDevicePointer reserved = machine.reserve();
  const CuDevicePointer unmapped = machine.map_new();
  (void)machine.call().cuMemUnmap(unmapped, machine.granularity());
  return codes({retain(&allocation, nullptr),
                retain(&allocation, reinterpret_cast<void*>(reserved)),
                retain(&allocation, reinterpret_cast<void*>(unmapped))});
}

Answer ask_retain_inside(Machine& machine) {
  const CuAllocation allocation = machine.create();
  const CuDevicePointer address = machine.map(allocation);
  CuAllocation retained = 0;
  const CuResult result = machine.call().cuMemRetainAllocationHandle(
      &retained, reinterpret_cast<void*>(address + 4096));
  return result == kSuccess && retained != allocation ? said("another handle") : codes({result});
}

Answer ask_retain_allocated(Machine& machine) {
  CuAllocation retained = 0;
  return codes({machine.call().cuMemRetainAllocationHandle(
      &retained, reinterpret_cast<void*>(machine.allocate(4096)))});
}

}  // namespace

std::vector<Row> rows_of_addresses() {
  using enum Evidence;
  using enum Where;
  return {
      {.number = 38,
       .what = "AddressReserve size 0",
       .expected = {"2", "1"},
       .evidence = unverified,
       .where = fake_and_gpu,
       .ask = ask_reserve_nothing},
      {.number = 39,
       .what = "AddressReserve alignment not a power of two",
       .expected = {"2"},
       .evidence = observed,
       .where = fake_and_gpu,
       .ask = ask_reserve_alignment},
      {.number = 40,
       .what = "AddressReserve size not a host page multiple",
       .expected = {"2"},
       .evidence = observed,
       .where = fake_and_gpu,
       .ask = ask_reserve_odd_size},
      {.number = 41,
       .what = "AddressFree null, size 0, wrong size",
       .expected = {"1"},
       .evidence = documented,
       .where = fake_and_gpu,
       .ask = ask_free_arguments},
      {.number = 42,
       .what = "AddressFree while mapped",
       .expected = {"1"},
       .evidence = unverified,
       .where = fake_and_gpu,
       .ask = ask_free_mapped},
      {.number = 43,
       .what = "Map offset≠0",
       .expected = {"1"},
       .evidence = unverified,
       .where = fake_and_gpu,
       .ask = ask_map_offset},
      {.number = 44,
       .what = "Map size larger than the allocation",
       .expected = {"1"},
       .evidence = unverified,
       .where = fake_and_gpu,
       .ask = ask_map_larger},
      {.number = 45,
       .what = "Map size smaller (aligned)",
       .expected = {"0"},
       .evidence = unverified,
       .where = fake_and_gpu,
       .ask = ask_map_smaller},
      {.number = 46,
       .what = "Map size or address unaligned",
       .expected = {"1"},
       .evidence = unverified,
       .where = fake_and_gpu,
       .ask = ask_map_unaligned},
      {.number = 47,
       .what = "Map over a mapping",
       .expected = {"1", "208"},
       .evidence = unverified,
       .where = fake_and_gpu,
       .ask = ask_map_twice},
      {.number = 48,
       .what = "Map outside a reservation",
       .expected = {"1"},
       .evidence = unverified,
       .where = fake_and_gpu,
       .ask = ask_map_outside},
      {.number = 49,
       .what = "same handle mapped at two addresses",
       .expected = {"0"},
       .evidence = observed,
       .where = fake_and_gpu,
       .ask = ask_two_addresses},
      {.number = 56,
       .what = "Unmap size smaller; twice",
       .expected = {"1"},
       .evidence = documented,
       .where = fake_and_gpu,
       .ask = ask_unmap_arguments},
      {.number = 57,
       .what = "Unmap while work is pending",
       .expected = {"waits"},
       .evidence = documented,
       .where = fake_and_gpu,
       .begin = Begin::alone,
       .ask = ask_unmap_waits},
      {.number = 58,
       .what = "Retain on null, reserved or unmapped address",
       .expected = {"1"},
       .evidence = documented,
       .where = fake_and_gpu,
       .ask = ask_retain_unmapped},
      {.number = 59,
       .what = "Retain inside a mapping",
       .expected = {"0"},
       .evidence = documented,
       .where = fake_and_gpu,
       .ask = ask_retain_inside},
      {.number = 60,
       .what = "Retain on cudaMalloc memory",
       .expected = {"1", "801"},
       .evidence = observed,
       .where = fake_and_gpu,
       .ask = ask_retain_allocated},
  };
}

}  // namespace strata::inline v0_1::conformance
