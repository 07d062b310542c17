// cuMemCreate and what it gives.
#include "tests/gpu/conformance/machine.h"

namespace strata::inline v0_1::conformance {
namespace {

Answer ask_granularity_arguments(Machine& machine) {
  const CuAllocationProperties wanted = machine.properties();
  std::size_t bytes = 0;
  return codes({machine.call().cuMemGetAllocationGranularity(nullptr, &wanted, 0),
                machine.call().cuMemGetAllocationGranularity(&bytes, &wanted, 99)});
}

Answer ask_granularity_elsewhere(Machine& machine) {
  CuAllocationProperties wanted = machine.properties();
  wanted.location.id = 4096;
  std::size_t bytes = 0;
  return codes({machine.call().cuMemGetAllocationGranularity(&bytes, &wanted, 0)});
}

CuResult create(Machine& machine, std::size_t bytes, const CuAllocationProperties& wanted,
                unsigned long long flags = 0) {
  CuAllocation made = 0;
  const CuResult result = machine.call().cuMemCreate(&made, bytes, &wanted, flags);
  if (result == kSuccess) (void)machine.call().cuMemRelease(made);
  return result;
}

Answer ask_create_sizes(Machine& machine) {
  return codes({create(machine, 0, machine.properties()),
                create(machine, machine.granularity() - 1, machine.properties())});
}

CuResult create_at(Machine& machine, CuLocation location, int handle_types) {
  CuAllocationProperties wanted = machine.properties(handle_types);
  wanted.location = location;
  return create(machine, machine.granularity(), wanted);
}

Answer ask_create_elsewhere(Machine& machine) {
  return codes({create_at(machine, {kLocationDevice, -1}, kHandleTypePosixFd),
                create_at(machine, {kLocationDevice, 4096}, kHandleTypePosixFd)});
}

Answer ask_create_flags(Machine& machine) {
  return codes({create(machine, machine.granularity(), machine.properties(), 1)});
}

Answer ask_create_host(Machine& machine) {
  return codes({create_at(machine, {kLocationHost, 0}, kHandleTypePosixFd)});
}

Answer ask_create_host_numa_current(Machine& machine) {
  return codes({create_at(machine, {kLocationHostNumaCurrent, 0}, kHandleTypePosixFd)});
}

Answer ask_create_fabric(Machine& machine) {
  const CuResult result =
      create(machine, machine.granularity(), machine.properties(kHandleTypeFabric));
  return result == kSuccess ? not_asked("this machine has a fabric") : codes({result});
}

Answer ask_create_too_much(Machine& machine) {
  std::size_t total = 0;
  (void)machine.call().cuDeviceTotalMem(&total, machine.device());
  const std::size_t bytes = (total / machine.granularity() + 1) * machine.granularity();
  return codes({create(machine, bytes, machine.properties())});
}

Answer ask_release_keeps_mapping(Machine& machine) {
  const CuAllocation allocation = machine.create();
  const CuDevicePointer address = machine.map(allocation);
  if (machine.call().cuMemRelease(allocation) != kSuccess) return said("cuMemRelease failed");
  std::uint64_t word = 0;
  const bool is_kept = machine.write_word(address, 7) == kSuccess &&
                       machine.read_word(address, &word) == kSuccess && word == 7;
  return said(is_kept ? "yes" : "no");
}

Answer ask_release_null(Machine& machine) { return codes({machine.call().cuMemRelease(0)}); }

Answer ask_properties_of_import(Machine& machine) {
  const int fd = machine.export_fd(machine.create());
  CuAllocation imported = 0;
  if (machine.import(fd, &imported) != kSuccess) return said("the import failed");
  CuAllocationProperties properties{};
  return codes({machine.call().cuMemGetAllocationPropertiesFromHandle(&properties, imported)});
}

Answer ask_properties_null(Machine& machine) {
  return codes({machine.call().cuMemGetAllocationPropertiesFromHandle(nullptr, machine.create())});
}

}  // namespace

std::vector<Row> rows_of_allocation() {
  using enum Evidence;
  using enum Where;
  return {
      {.number = 9,
       .what = "GetAllocationGranularity(null out), bad flag",
       .expected = {"1"},
       .evidence = observed,
       .where = fake_and_gpu,
       .ask = ask_granularity_arguments},
      {.number = 11,
       .what = "GetAllocationGranularity(bad device)",
       .expected = {"0"},
       .evidence = observed,
       .where = fake_and_gpu,
       .ask = ask_granularity_elsewhere},
      {.number = 12,
       .what = "cuMemCreate size 0, or not a multiple",
       .expected = {"1"},
       .evidence = documented,
       .where = fake_and_gpu,
       .ask = ask_create_sizes},
      {.number = 13,
       .what = "cuMemCreate device −1 or too high",
       .expected = {"1", "101"},
       .evidence = unverified,
       .where = fake_and_gpu,
       .ask = ask_create_elsewhere},
      {.number = 14,
       .what = "cuMemCreate flags≠0",
       .expected = {"1"},
       .evidence = unverified,
       .where = fake_and_gpu,
       .ask = ask_create_flags},
      {.number = 15,
       .what = "cuMemCreate HOST with a handle type",
       .expected = {"1"},
       .evidence = documented,
       .where = fake_and_gpu,
       .ask = ask_create_host},
      {.number = 16,
       .what = "cuMemCreate HOST_NUMA_CURRENT",
       .expected = {"1"},
       .evidence = documented,
       .where = fake_and_gpu,
       .ask = ask_create_host_numa_current},
      {.number = 18,
       .what = "cuMemCreate FABRIC, no IMEX",
       .expected = {"800", "801"},
       .evidence = observed,
       .where = fake_and_gpu,
       .ask = ask_create_fabric},
      {.number = 20,
       .what = "cuMemCreate beyond free memory",
       .expected = {"2"},
       .evidence = documented,
       .where = fake_and_gpu,
       .ask = ask_create_too_much},
      {.number = 35,
       .what = "Release: a mapping keeps the memory",
       .expected = {"yes"},
       .evidence = documented,
       .where = fake_and_gpu,
       .ask = ask_release_keeps_mapping},
      {.number = 36,
       .what = "Release(0)",
       .expected = {"1"},
       .evidence = observed,
       .where = fake_and_gpu,
       .ask = ask_release_null},
      {.number = 61,
       .what = "PropertiesFromHandle of an import",
       .expected = {"0"},
       .evidence = documented,
       .where = fake_and_gpu,
       .ask = ask_properties_of_import},
      {.number = 62,
       .what = "PropertiesFromHandle null",
       .expected = {"1"},
       .evidence = observed,
       .where = fake_and_gpu,
       .ask = ask_properties_null},
  };
}

}  // namespace strata::inline v0_1::conformance
