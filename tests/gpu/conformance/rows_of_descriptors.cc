// Descriptors of allocations, within one process.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/gpu/conformance/machine.h"

namespace strata::inline v0_1::conformance {
namespace {

CuResult export_as(Machine& machine, CuAllocation allocation, int type,
                   unsigned long long flags = 0) {
  CuFabricHandle handle{};
  return machine.call().cuMemExportToShareableHandle(&handle, allocation, type, flags);
}

Answer ask_export_not_requested(Machine& machine) {
  return codes({export_as(machine, machine.create(1, kHandleTypeNone), kHandleTypePosixFd),
                export_as(machine, machine.create(), kHandleTypeFabric)});
}

Answer ask_export_arguments(Machine& machine) {
  const CuAllocation allocation = machine.create();
  const CuResult null =
      machine.call().cuMemExportToShareableHandle(nullptr, allocation, kHandleTypePosixFd, 0);
  return codes({null, export_as(machine, allocation, 99),
                export_as(machine, allocation, kHandleTypePosixFd, 1)});
}

Answer ask_export_twice(Machine& machine) {
  const CuAllocation allocation = machine.create();
  const int one = machine.export_fd(allocation);
  const int other = machine.export_fd(allocation);
  if (one == other) return said("the same descriptor");
  CuAllocation first = 0;
  CuAllocation second = 0;
  const CuResult result = machine.import(one, &first);
  if (result != kSuccess) return codes({result});
  (void)machine.write_word(machine.map(allocation), 23);
  if (machine.import(other, &second) != kSuccess) return said("the second cannot be imported");
  std::uint64_t word = 0;
  (void)machine.read_word(machine.map(second), &word);
  return word == 23 ? codes({kSuccess}) : said("of another allocation");
}

Answer ask_kind_of_descriptor(Machine& machine) {
  struct stat facts {};
  struct stat control {};
  if (::fstat(machine.export_fd(machine.create()), &facts) != 0) return said("fstat failed");
  if (!S_ISCHR(facts.st_mode)) return said("not a character device");
  const std::string path = machine.place().device_directory + "/nvidiactl";
  const bool is_control = ::stat(path.c_str(), &control) == 0 && control.st_rdev == facts.st_rdev;
  return said(is_control ? "nvidiactl" : "another character device");
}

Answer ask_import_no_memory(Machine& machine) {
  CuAllocation imported = 0;
  return codes({machine.import(-1, &imported),
                machine.import(::open("/dev/null", O_RDWR | O_CLOEXEC), &imported)});
}

Answer ask_import_bare_control(Machine& machine) {
  const std::string path = machine.place().device_directory + "/nvidiactl";
  const int fd = ::open(path.c_str(), O_RDWR | O_CLOEXEC);
  if (fd < 0) return not_asked("no " + path);
  CuAllocation imported = 0;
  return codes({machine.import(fd, &imported)});
}

Answer ask_who_closes(Machine& machine) {
  const int fd = machine.export_fd(machine.create());
  CuAllocation imported = 0;
  if (machine.import(fd, &imported) != kSuccess) return said("the import failed");
  return said(::fcntl(fd, F_GETFD) >= 0 ? "the caller" : "the driver");
}

Answer ask_import_twice(Machine& machine) {
  const int fd = machine.export_fd(machine.create());
  CuAllocation imported = 0;
  return codes({machine.import(fd, &imported), machine.import(fd, &imported)});
}

}  // namespace

std::vector<Row> rows_of_descriptors() {
  using enum Evidence;
  using enum Where;
  return {
      {.number = 21,
       .what = "Export, type not requested at create",
       .expected = {"1"},
       .evidence = unverified,
       .where = fake_and_gpu,
       .ask = ask_export_not_requested},
      {.number = 22,
       .what = "Export null out / bad type / flags≠0",
       .expected = {"1"},
       .evidence = observed,
       .where = fake_and_gpu,
       .ask = ask_export_arguments},
      {.number = 23,
       .what = "Export twice",
       .expected = {"0"},
       .evidence = unverified,
       .where = fake_and_gpu,
       .ask = ask_export_twice},
      {.number = 24,
       .what = "Export fd: fstat",
       .expected = {"nvidiactl"},
       .evidence = source,
       .where = gpu,
       .ask = ask_kind_of_descriptor},
      {.number = 25,
       .what = "Import fd −1, or not an nvidiactl file",
       .expected = {"1"},
       .evidence = unverified,
       .where = fake_and_gpu,
       .ask = ask_import_no_memory},
      {.number = 26,
       .what = "Import nvidiactl fd with nothing exported",
       .expected = {"1"},
       .evidence = unverified,
       .where = gpu,
       .ask = ask_import_bare_control},
      {.number = 27,
       .what = "Import: who closes the caller's fd",
       .expected = {"the caller"},
       .evidence = observed,
       .where = fake_and_gpu,
       .ask = ask_who_closes},
      {.number = 28,
       .what = "Import twice in one process",
       .expected = {"0"},
       .evidence = documented,
       .where = fake_and_gpu,
       .ask = ask_import_twice},
      {.number = 29,
       .what = "Import in the exporting process",
       .expected = {"0"},
       .evidence = unverified,
       .where = fake_and_gpu,
       .ask = ask_import_twice},
  };
}

}  // namespace strata::inline v0_1::conformance
