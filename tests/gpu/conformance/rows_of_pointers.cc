// What the driver says of addresses.
#include "tests/gpu/conformance/machine.h"

namespace strata::inline v0_1::conformance {
namespace {

int on_the_host = 0;
CuDevicePointer foreign() { return reinterpret_cast<CuDevicePointer>(&on_the_host); }

Answer ask_range(Machine& machine) {
  CuDevicePointer base = 0;
  std::size_t bytes = 0;
  return codes({machine.call().cuMemGetAddressRange(&base, &bytes, foreign())});
}

Answer ask_attribute(Machine& machine) {
  int value = 0;
  return codes({machine.call().cuPointerGetAttribute(&value, kPointerMemoryType, foreign())});
}

Answer ask_attributes(Machine& machine) {
  unsigned type = 99;
  CuDevicePointer start = 99;
  CuPointerAttribute wanted[] = {kPointerMemoryType, kPointerRangeStart};
  void* values[] = {&type, &start};
  const CuResult result = machine.call().cuPointerGetAttributes(2, wanted, values, foreign());
  return result == kSuccess && (type != 0 || start != 0) ? said("not null") : codes({result});
}

}  // namespace

std::vector<Row> rows_of_pointers() {
  using enum Evidence;
  using enum Where;
  return {
      {.number = 63,
       .what = "GetAddressRange of a non-CUDA address",
       .expected = {"500", "1"},
       .evidence = documented,
       .where = fake_and_gpu,
       .ask = ask_range},
      {.number = 64,
       .what = "cuPointerGetAttribute on a foreign pointer",
       .expected = {"1"},
       .evidence = documented,
       .where = fake_and_gpu,
       .ask = ask_attribute},
      {.number = 65,
       .what = "cuPointerGetAttributes on a foreign pointer",
       .expected = {"0"},
       .evidence = documented,
       .where = fake_and_gpu,
       .ask = ask_attributes},
  };
}

}  // namespace strata::inline v0_1::conformance
