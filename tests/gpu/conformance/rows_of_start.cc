// Before, at and after the driver's start.
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>

#include "tests/gpu/conformance/machine.h"

namespace strata::inline v0_1::conformance {
namespace {

constexpr int kUntouched = 4711;

Answer ask_before_init(const Place& place) {
  const Calls calls(place);
  int count = kUntouched;
  const CuResult result = calls.table().cuDeviceGetCount(&count);
  return count == kUntouched ? codes({result}) : said("the out parameter was written");
}

Answer ask_init_flags(const Place& place) { return codes({Calls(place).table().cuInit(1)}); }

// What `call` gives in a child that is forked now.
Answer in_forked_child(Machine& machine, CuResult (*call)(const DriverTable& table)) {
  const pid_t child = ::fork();
  if (child == 0) ::_exit(static_cast<int>(call(machine.call())) & 0xff);
  int status = 0;
  ::waitpid(child, &status, 0);
  if (!WIFEXITED(status)) return said("signal " + std::to_string(WTERMSIG(status)));
  return codes({static_cast<CuResult>(WEXITSTATUS(status))});
}

Answer ask_call_after_fork(Machine& machine) {
  return in_forked_child(machine, [](const DriverTable& table) {
    std::size_t free = 0;
    std::size_t total = 0;
    return table.cuMemGetInfo(&free, &total);
  });
}

Answer ask_init_after_fork(Machine& machine) {
  return in_forked_child(machine, [](const DriverTable& table) { return table.cuInit(0); });
}

Answer ask_device_out_of_range(Machine& machine) {
  CuDevice device = 0;
  return codes(
      {machine.call().cuDeviceGet(&device, 4096), machine.call().cuDeviceGet(&device, -1)});
}

Answer ask_unknown_attribute(Machine& machine) {
  int value = 0;
  return codes({machine.call().cuDeviceGetAttribute(&value, static_cast<CuDeviceAttribute>(9999),
                                                    machine.device())});
}

Answer ask_peer_of_itself(Machine& machine) {
  using P2PAttribute = CuResult(int*, int, CuDevice, CuDevice);
  auto* const ask = machine.calls().find<P2PAttribute>("cuDeviceGetP2PAttribute");
  if (!ask) return not_asked("the driver has no cuDeviceGetP2PAttribute");
  int value = 0;
  constexpr int kAccessSupported = 2;
  const CuResult null = ask(nullptr, kAccessSupported, machine.device(), machine.device());
  if (null != kInvalidValue) return said("null: " + codes({null}).text);
  return codes({ask(&value, kAccessSupported, machine.device(), machine.device())});
}

Answer ask_order_of_checks(Machine& machine) {
  const auto bad = static_cast<CuDeviceAttribute>(9999);
  int value = 0;
  const CuResult all_wrong = machine.call().cuDeviceGetAttribute(nullptr, bad, 4096);
  const CuResult two_wrong = machine.call().cuDeviceGetAttribute(&value, bad, 4096);
  const bool is_pointer_first = all_wrong == kInvalidValue;
  const bool is_device_next = two_wrong == kInvalidDevice;
  if (is_pointer_first && is_device_next) return said("pointer, device, enum");
  return codes({all_wrong, two_wrong});
}

// A handler that was registered before cuInit runs after the driver's own.
const DriverTable* table_at_exit = nullptr;
int pipe_at_exit = -1;
void call_at_exit() {
  int count = 0;
  const CuResult result = table_at_exit->cuDeviceGetCount(&count);
  (void)!::write(pipe_at_exit, &result, sizeof result);
}

Answer ask_at_exit(const Place& place) {
  int ends[2];
  if (::pipe(ends) != 0) give_up("no pipe");
  const pid_t child = ::fork();
  if (child == 0) {
    pipe_at_exit = ends[1];
    std::atexit(call_at_exit);
    const auto* const machine = new Machine(place);
    table_at_exit = &machine->call();
    std::exit(0);
  }
  ::close(ends[1]);
  CuResult result = kUnknown;
  const bool has_answer = ::read(ends[0], &result, sizeof result) == sizeof result;
  ::waitpid(child, nullptr, 0);
  return has_answer ? codes({result}) : said("the process died");
}

}  // namespace

std::vector<Row> rows_of_start() {
  using enum Evidence;
  using enum Where;
  return {
      {.number = 2,
       .what = "any call before cuInit",
       .expected = {"3"},
       .evidence = observed,
       .where = fake_and_gpu,
       .begin = Begin::bare,
       .ask_bare = ask_before_init},
      {.number = 3,
       .what = "cuInit(flags≠0)",
       .expected = {"1"},
       .evidence = unverified,
       .where = fake_and_gpu,
       .begin = Begin::bare,
       .ask_bare = ask_init_flags},
      {.number = 4,
       .what = "any call in a child forked after cuInit",
       .expected = {"3"},
       .evidence = observed,
       .where = fake_and_gpu,
       .begin = Begin::alone,
       .ask = ask_call_after_fork},
      {.number = 5,
       .what = "cuInit in such a child",
       .expected = {"3"},
       .evidence = observed,
       .where = fake_and_gpu,
       .begin = Begin::alone,
       .ask = ask_init_after_fork},
      {.number = 6,
       .what = "cuDeviceGet(out of range)",
       .expected = {"101"},
       .evidence = observed,
       .where = fake_and_gpu,
       .ask = ask_device_out_of_range},
      {.number = 7,
       .what = "cuDeviceGetAttribute(unknown enum)",
       .expected = {"1"},
       .evidence = observed,
       .where = fake_and_gpu,
       .ask = ask_unknown_attribute},
      {.number = 8,
       .what = "cuDeviceGetP2PAttribute(same device twice)",
       .expected = {"101"},
       .evidence = observed,
       .where = gpu,
       .ask = ask_peer_of_itself},
      {.number = 104,
       .what = "order of validation",
       .expected = {"pointer, device, enum"},
       .evidence = observed,
       .where = fake_and_gpu,
       .ask = ask_order_of_checks},
      {.number = 105,
       .what = "any call at process exit, after the driver was torn down",
       .expected = {"4"},
       .evidence = documented,
       .where = fake_and_gpu,
       .begin = Begin::bare,
       .ask_bare = ask_at_exit},
  };
}

}  // namespace strata::inline v0_1::conformance
