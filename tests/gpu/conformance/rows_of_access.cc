// Rights at mapped addresses.
#include "tests/gpu/conformance/machine.h"

namespace strata::inline v0_1::conformance {
namespace {

Answer ask_access_arguments(Machine& machine) {
  const CuAccess access{{kLocationDevice, machine.device()}, kAccessReadWrite};
  const CuAccess bad_flag{{kLocationDevice, machine.device()}, 99};
  const auto set = machine.call().cuMemSetAccess;
  const std::size_t granule = machine.granularity();
  const CuDevicePointer mapped = machine.map_new(2);
  return codes({set(machine.reserve(), granule, &access, 1), set(mapped, granule, &access, 1),
                set(mapped, 2 * granule, &access, 0), set(mapped, 2 * granule, &bad_flag, 1)});
}

Answer ask_access_elsewhere(Machine& machine) {
  const CuAccess access{{kLocationDevice, 4096}, kAccessReadWrite};
  return codes(
      {machine.call().cuMemSetAccess(machine.map_new(), machine.granularity(), &access, 1)});
}

CuDevicePointer map_with(Machine& machine, int access) {
  return machine.map(machine.create(), access);
}
constexpr int kNeverSet = -1;

Answer ask_copy_into_read_only(Machine& machine) {
  const CuDevicePointer readable = map_with(machine, kAccessRead);
  const CuDevicePointer closed = map_with(machine, kAccessNone);
  const CuResult first = machine.write_word(readable, 1);
  const CuResult second = machine.write_word(closed, 1);
  std::uint64_t word = 0;
  const CuResult later = machine.read_word(readable, &word);
  if (later != kSuccess) return said("sticky: " + codes({first, second, later}).text);
  return codes({first, second});
}

Answer ask_async_into_read_only(Machine& machine) {
  const CuDevicePointer readable = map_with(machine, kAccessRead);
  const CuDevicePointer other = machine.map_new();
  const CuResult copied = machine.call().cuMemcpyAsync(readable, other, 64, nullptr);
  const CuResult filled = machine.call().cuMemsetD8Async(readable, 1, 64, nullptr);
  const CuResult later = machine.call().cuCtxSynchronize();
  if (copied == kSuccess || filled == kSuccess) {
    return said("later: " + codes({copied, filled, later}).text);
  }
  return codes({copied, filled});
}

Answer ask_kernel_into_read_only(Machine& machine) {
  const CuResult result = machine.run_store_kernel(map_with(machine, kAccessRead), 64, 1);
  std::size_t free = 0;
  std::size_t total = 0;
  if (machine.call().cuMemGetInfo(&free, &total) == kSuccess) {
    return said("not sticky: " + codes({result}).text);
  }
  return codes({result});
}

Answer ask_without_access(Machine& machine) {
  const CuResult copied = machine.write_word(map_with(machine, kNeverSet), 1);
  const CuResult ran = machine.run_store_kernel(map_with(machine, kNeverSet), 64, 1);
  return said("kernel " + codes({ran}).text + ", copy " + codes({copied}).text);
}

}  // namespace

std::vector<Row> rows_of_access() {
  using enum Evidence;
  using enum Where;
  return {
      {.number = 50,
       .what = "SetAccess unmapped, partial, count 0, bad flag",
       .expected = {"1"},
       .evidence = observed,
       .where = fake_and_gpu,
       .ask = ask_access_arguments},
      {.number = 51,
       .what = "SetAccess bad device",
       .expected = {"1", "101"},
       .evidence = unverified,
       .where = fake_and_gpu,
       .ask = ask_access_elsewhere},
      {.number = 52,
       .what = "synchronous MemcpyHtoD into a READ or NONE mapping",
       .expected = {"1"},
       .evidence = observed,
       .where = fake_and_gpu,
       .begin = Begin::alone,
       .ask = ask_copy_into_read_only},
      {.number = 53,
       .what = "MemcpyAsync or memset into a READ mapping",
       .expected = {"1"},
       .evidence = unverified,
       .where = fake_and_gpu,
       .begin = Begin::alone,
       .ask = ask_async_into_read_only},
      {.number = 54,
       .what = "a kernel writes a READ mapping",
       .expected = {"700"},
       .evidence = unverified,
       .where = fake_and_gpu,
       .begin = Begin::alone,
       .ask = ask_kernel_into_read_only},
      {.number = 55,
       .what = "kernel / copy on mapped memory without SetAccess",
       .expected = {"kernel 700, copy 1"},
       .evidence = unverified,
       .where = fake_and_gpu,
       .begin = Begin::alone,
       .ask = ask_without_access},
  };
}

}  // namespace strata::inline v0_1::conformance
