// Handles of cuMemAlloc memory.
#include <cstring>

#include "tests/gpu/conformance/machine.h"

namespace strata::inline v0_1::conformance {
namespace {

constexpr std::uint64_t kWord = 0x57A7A;
constexpr std::size_t kBytes = std::size_t{4} << 20;

CuResult get(const Machine& machine, CuDevicePointer address, CuIpcMemHandle* handle) {
  return machine.call().cuIpcGetMemHandle(handle, address);
}

CuResult open(const Machine& machine, const CuIpcMemHandle& handle, CuDevicePointer* address,
              unsigned flags = kIpcLazyPeerAccess) {
  return machine.call().cuIpcOpenMemHandle(address, handle, flags);
}

Answer ask_handle_of_vmm(Machine& machine) {
  CuIpcMemHandle handle{};
  return codes({get(machine, machine.map_new(), &handle)});
}

Answer ask_handle_of_freed(Machine& machine) {
  const CuDevicePointer address = machine.allocate(kBytes);
  (void)machine.call().cuMemFree(address);
  CuIpcMemHandle handle{};
  return codes({get(machine, address, &handle), get(machine, 4096, &handle)});
}

Answer ask_handle_of_interior(Machine& machine) {
  const CuDevicePointer address = machine.allocate(kBytes);
  CuIpcMemHandle base{};
  CuIpcMemHandle interior{};
  const CuResult first = get(machine, address, &base);
  const CuResult second = get(machine, address + 512, &interior);
  if (first != kSuccess || second != kSuccess) return codes({first, second});
  const bool is_same = std::memcmp(&base, &interior, sizeof base) == 0;
  return said(is_same ? "handle of the base" : "another handle");
}

Answer ask_open_at_home(Machine& machine) {
  CuIpcMemHandle handle{};
  CuDevicePointer address = 0;
  (void)get(machine, machine.allocate(kBytes), &handle);
  return codes({open(machine, handle, &address)});
}

Answer ask_close_own(Machine& machine) {
  return codes({machine.call().cuIpcCloseMemHandle(machine.allocate(kBytes))});
}

// Sends a handle of memory that says kWord; writes the words that it is sent.
void export_and_write(const Place& place, Channel& first) {
  const Machine machine(place);
  const CuDevicePointer address = machine.allocate(kBytes);
  CuIpcMemHandle handle{};
  if (machine.write_word(address, kWord) != kSuccess) give_up("no copy");
  if (get(machine, address, &handle) != kSuccess) give_up("no handle");
  first.send(handle);
  for (;;)
    first.send(machine.write_word(address, first.receive<std::uint64_t>()));
}

Answer ask_open_twice(const Place& place, Channel& second) {
  const Machine machine(place);
  const auto handle = second.receive<CuIpcMemHandle>();
  CuDevicePointer one = 0;
  CuDevicePointer other = 0;
  const CuResult first = open(machine, handle, &one);
  const CuResult again = open(machine, handle, &other);
  if (first != kSuccess || again != kSuccess) return codes({first, again});
  if (one != other) return said("another pointer");
  const CuResult closed = machine.call().cuIpcCloseMemHandle(one);
  std::uint64_t word = 0;
  const CuResult read = machine.read_word(one, &word);
  return read == kSuccess ? codes({closed}) : said("not counted");
}

Answer ask_open_in_second_context(const Place& place, Channel& second) {
  const Machine machine(place);
  const auto handle = second.receive<CuIpcMemHandle>();
  using CreateContext = CuResult(CuContext*, unsigned, CuDevice);
  auto* const create = machine.calls().find<CreateContext>("cuCtxCreate_v2");
  if (!create) return not_asked("the driver has no cuCtxCreate_v2");
  CuDevicePointer address = 0;
  if (open(machine, handle, &address) != kSuccess) return said("the first open failed");
  CuContext context = nullptr;
  if (create(&context, 0, machine.device()) != kSuccess) return said("no second context");
  return codes({open(machine, handle, &address)});
}

Answer ask_open_flags(const Place& place, Channel& second) {
  const Machine machine(place);
  CuDevicePointer address = 0;
  return codes({open(machine, second.receive<CuIpcMemHandle>(), &address, 0)});
}

Answer ask_open_dead(const Place& place, Channel& second) {
  const Machine machine(place);
  const auto handle = second.receive<CuIpcMemHandle>();
  second.kill_other();
  CuDevicePointer address = 0;
  return codes({open(machine, handle, &address)});
}

Answer ask_close_without_context(const Place& place, Channel& second) {
  const Machine machine(place);
  CuDevicePointer address = 0;
  if (open(machine, second.receive<CuIpcMemHandle>(), &address) != kSuccess) {
    return said("the open failed");
  }
  CuContext context = nullptr;
  (void)machine.call().cuCtxPopCurrent(&context);
  return codes({machine.call().cuIpcCloseMemHandle(address)});
}

Answer ask_exporter_killed(const Place& place, Channel& second) {
  const Machine machine(place);
  CuDevicePointer address = 0;
  if (open(machine, second.receive<CuIpcMemHandle>(), &address) != kSuccess) {
    return said("the open failed");
  }
  second.kill_other();
  std::uint64_t word = 0;
  const CuResult read = machine.read_word(address, &word);
  if (read != kSuccess) return codes({read});
  return said(word == kWord ? "stays" : "other bytes");
}

Answer ask_wait_on_import(const Place& place, Channel& second) {
  const Machine machine(place);
  CuDevicePointer address = 0;
  if (open(machine, second.receive<CuIpcMemHandle>(), &address) != kSuccess) {
    return said("the open failed");
  }
  const CuStream stream = machine.stream();
  const CuResult result =
      machine.call().cuStreamWaitValue64(stream, address, kWord + 1, kWaitValueGeq);
  if (result != kSuccess) return codes({result});
  second.send(kWord + 1);
  (void)second.receive<CuResult>();
  return codes({machine.call().cuStreamSynchronize(stream)});
}

Answer ask_event_at_home(Machine& machine) {
  using GetHandle = CuResult(CuIpcMemHandle*, CuEvent);
  using OpenHandle = CuResult(CuEvent*, CuIpcMemHandle);
  auto* const get_handle = machine.calls().find<GetHandle>("cuIpcGetEventHandle");
  auto* const open_handle = machine.calls().find<OpenHandle>("cuIpcOpenEventHandle");
  if (!get_handle || !open_handle) return not_asked("the driver has no IPC events");
  constexpr unsigned kInterprocess = 4;
  CuEvent event = nullptr;
  CuEvent opened = nullptr;
  CuIpcMemHandle handle{};
  (void)machine.call().cuEventCreate(&event, kInterprocess | kEventDisableTiming);
  if (get_handle(&handle, event) != kSuccess) return said("no handle");
  return codes({open_handle(&opened, handle)});
}

}  // namespace

std::vector<Row> rows_of_ipc() {
  using enum Evidence;
  using enum Where;
  const auto with_second = [](int number, std::string what, std::vector<std::string> expected,
                              Evidence evidence, Where where, decltype(Row::ask_with) ask) {
    return Row{.number = number,
               .what = std::move(what),
               .expected = std::move(expected),
               .evidence = evidence,
               .where = where,
               .begin = Begin::bare,
               .ask_with = ask,
               .second = export_and_write};
  };
  return {
      {.number = 66,
       .what = "cuIpcGetMemHandle: VMM memory",
       .expected = {"1"},
       .evidence = observed,
       .where = fake_and_gpu,
       .ask = ask_handle_of_vmm},
      {.number = 67,
       .what = "cuIpcGetMemHandle: freed, out of range",
       .expected = {"1"},
       .evidence = observed,
       .where = fake_and_gpu,
       .ask = ask_handle_of_freed},
      {.number = 68,
       .what = "cuIpcGetMemHandle: interior pointer",
       .expected = {"handle of the base"},
       .evidence = observed,
       .where = fake_and_gpu,
       .ask = ask_handle_of_interior},
      {.number = 69,
       .what = "cuIpcOpenMemHandle in the exporting process",
       .expected = {"201"},
       .evidence = observed,
       .where = fake_and_gpu,
       .ask = ask_open_at_home},
      with_second(71, "open twice in one context", {"0"}, documented, fake_and_gpu, ask_open_twice),
      with_second(72, "open in a second context of one device", {"400", "208"}, observed, gpu,
                  ask_open_in_second_context),
      with_second(73, "open, flags 0", {"1"}, unverified, fake_and_gpu, ask_open_flags),
      with_second(74, "open, exporter dead", {"205", "400", "1"}, unverified, fake_and_gpu,
                  ask_open_dead),
      {.number = 77,
       .what = "close of an own allocation",
       .expected = {"1"},
       .evidence = observed,
       .where = fake_and_gpu,
       .ask = ask_close_own},
      with_second(78, "close with no current context", {"201"}, observed, fake_and_gpu,
                  ask_close_without_context),
      with_second(79, "exporter killed while the importer maps", {"stays"}, unverified,
                  fake_and_gpu, ask_exporter_killed),
      {.number = 80,
       .what = "cuIpcOpenEventHandle in the same process",
       .expected = {"201"},
       .evidence = observed,
       .where = gpu,
       .ask = ask_event_at_home},
      with_second(88, "WaitValue64 on legacy-imported memory", {"0"}, observed, fake_and_gpu,
                  ask_wait_on_import),
  };
}

}  // namespace strata::inline v0_1::conformance
