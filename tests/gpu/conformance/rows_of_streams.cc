// Streams that wait for words, and contexts that end.
#include "tests/gpu/conformance/machine.h"

namespace strata::inline v0_1::conformance {
namespace {

constexpr std::uint64_t kWord = 0x57A7A;

// A word of host memory that streams can use.
struct Word {
  explicit Word(Machine& machine) : on_host(shared_words()) {
    if (machine.call().cuMemHostRegister(on_host, 4096, kHostRegisterDeviceMap) != kSuccess ||
        machine.call().cuMemHostGetDevicePointer(&on_device, on_host, 0) != kSuccess) {
      give_up("the words cannot be registered");
    }
  }
  void store(std::uint64_t value) { __atomic_store_n(on_host, value, __ATOMIC_RELEASE); }

  std::uint64_t* on_host;
  CuDevicePointer on_device = 0;
};

CuResult wait(Machine& machine, CuStream stream, CuDevicePointer address, std::uint64_t value) {
  return machine.call().cuStreamWaitValue64(stream, address, value, kWaitValueGeq);
}

Answer ask_words_of_host(Machine& machine) {
  const Word word(machine);
  const CuStream stream = machine.stream();
  const CuResult waited = wait(machine, stream, word.on_device, 0);
  const CuResult wrote =
      machine.call().cuStreamWriteValue64(stream, word.on_device, kWord, kWriteValueDefault);
  const CuResult done = machine.call().cuStreamSynchronize(stream);
  if (*word.on_host != kWord) return said("nothing was written");
  return codes({waited, wrote, done});
}

// Sends the descriptor of memory of zeros, and writes the word that it is sent.
void export_and_write(const Place& place, Channel& first) {
  const Machine machine(place);
  const CuAllocation allocation = machine.create();
  const CuDevicePointer address = machine.map(allocation);
  if (machine.write_word(address, 0) != kSuccess) give_up("no copy");
  first.send_fd(machine.export_fd(allocation));
  first.send(machine.write_word(address, first.receive<std::uint64_t>()));
  first.stay();
}

Answer ask_wait_on_import(const Place& place, Channel& second) {
  const Machine machine(place);
  CuAllocation imported = 0;
  if (machine.import(second.receive_fd(), &imported) != kSuccess) return said("no import");
  const CuStream stream = machine.stream();
  const CuResult result =
      machine.call().cuStreamWaitValue64(stream, machine.map(imported), kWord, kWaitValueGeq);
  if (result != kSuccess) return codes({result});
  second.send(kWord);
  (void)second.receive<CuResult>();
  return codes({machine.call().cuStreamSynchronize(stream)});
}

Answer ask_wait_arguments(Machine& machine) {
  const Word word(machine);
  const CuStream stream = machine.stream();
  const CuResult unmapped = wait(machine, stream, machine.reserve(), 0);
  const CuResult unaligned = wait(machine, stream, word.on_device + 4, 0);
  return codes({unmapped, unaligned});
}

Answer ask_cyclic(Machine& machine) {
  Word word(machine);
  const CuStream stream = machine.stream();
  // 5 is after 2^64 - 5, and not before it.
  word.store(5);
  (void)wait(machine, stream, word.on_device, ~std::uint64_t{0} - 4);
  if (machine.call().cuStreamSynchronize(stream) != kSuccess) return said("the wait failed");
  (void)wait(machine, stream, word.on_device, std::uint64_t{1} << 62);
  const bool is_waiting = machine.call().cuStreamQuery(stream) == kNotReady;
  word.store(std::uint64_t{1} << 62);
  (void)machine.call().cuStreamSynchronize(stream);
  return said(is_waiting ? "yes" : "no");
}

// Dies without writing any word.
void produce_nothing(const Place&, Channel& first) { first.stay(); }

Answer ask_dead_producer(const Place& place, Channel& second) {
  Machine machine(place);
  Word word(machine);
  const CuStream stream = machine.stream();
  (void)wait(machine, stream, word.on_device, 1);
  second.kill_other();
  const CuResult query = machine.call().cuStreamQuery(stream);
  word.store(1);
  (void)machine.call().cuStreamSynchronize(stream);
  return said(query == kNotReady ? "waits" : codes({query}).text);
}

Answer ask_query_while_waiting(Machine& machine) {
  Word word(machine);
  const CuStream stream = machine.stream();
  (void)wait(machine, stream, word.on_device, 1);
  const CuResult query = machine.call().cuStreamQuery(stream);
  word.store(1);
  (void)machine.call().cuStreamSynchronize(stream);
  return codes({query});
}

Answer ask_after_fault(Machine& machine) {
  const CuResult first = machine.run_store_kernel(machine.reserve(), 64, 1);
  std::size_t free = 0;
  std::size_t total = 0;
  CuStream stream = nullptr;
  return codes({first, machine.call().cuMemGetInfo(&free, &total),
                machine.call().cuStreamCreate(&stream, 0), machine.call().cuCtxSynchronize()});
}

using CreateContext = CuResult(CuContext*, unsigned, CuDevice);
using DestroyContext = CuResult(CuContext);

Answer ask_destroyed_context(Machine& machine) {
  auto* const create = machine.calls().find<CreateContext>("cuCtxCreate_v2");
  auto* const destroy = machine.calls().find<DestroyContext>("cuCtxDestroy_v2");
  if (!create || !destroy) return not_asked("the driver has no cuCtxCreate_v2");
  CuContext context = nullptr;
  if (create(&context, 0, machine.device()) != kSuccess) return said("no second context");
  (void)machine.call().cuCtxPopCurrent(&context);
  // Current, and then destroyed by another thread, as it were.
  (void)machine.call().cuCtxPushCurrent(context);
  (void)machine.call().cuCtxPushCurrent(context);
  (void)destroy(context);
  return codes({machine.call().cuCtxSynchronize()});
}

Answer ask_memory_of_destroyed_context(Machine& machine) {
  auto* const create = machine.calls().find<CreateContext>("cuCtxCreate_v2");
  auto* const destroy = machine.calls().find<DestroyContext>("cuCtxDestroy_v2");
  if (!create || !destroy) return not_asked("the driver has no cuCtxCreate_v2");
  CuContext context = nullptr;
  if (create(&context, 0, machine.device()) != kSuccess) return said("no second context");
  const CuAllocation allocation = machine.create();
  (void)machine.write_word(machine.map(allocation), kWord);
  (void)destroy(context);
  std::uint64_t word = 0;
  const CuResult read = machine.read_word(machine.map(allocation), &word);
  return said(read == kSuccess && word == kWord ? "stays" : "lost");
}

Answer ask_dma_buf(Machine& machine) {
  using GetHandle = CuResult(void*, CuDevicePointer, std::size_t, int, unsigned long long);
  auto* const get = machine.calls().find<GetHandle>("cuMemGetHandleForAddressRange");
  if (!get) return not_asked("the driver has no cuMemGetHandleForAddressRange");
  constexpr int kDmaBuf = 1;
  constexpr unsigned long long kMapOverPcie = 1;
  int fd = -1;
  const CuResult result = get(&fd, machine.map_new(), machine.granularity(), kDmaBuf, kMapOverPcie);
  return result == kSuccess ? not_asked("this machine can") : codes({result});
}

}  // namespace

std::vector<Row> rows_of_streams() {
  using enum Evidence;
  using enum Where;
  return {
      {.number = 87,
       .what = "Wait/WriteValue64 on registered host memory",
       .expected = {"0"},
       .evidence = documented,
       .where = fake_and_gpu,
       .ask = ask_words_of_host},
      {.number = 89,
       .what = "WaitValue64 on VMM-imported memory",
       .expected = {"0"},
       .evidence = unverified,
       .where = fake_and_gpu,
       .begin = Begin::bare,
       .ask_with = ask_wait_on_import,
       .second = export_and_write},
      {.number = 90,
       .what = "WaitValue64 unmapped address / unaligned",
       .expected = {"1"},
       .evidence = unverified,
       .where = fake_and_gpu,
       .begin = Begin::alone,
       .ask = ask_wait_arguments},
      {.number = 91,
       .what = "WaitValue64 compare is cyclic",
       .expected = {"yes"},
       .evidence = documented,
       .where = fake_and_gpu,
       .ask = ask_cyclic},
      {.number = 92,
       .what = "WaitValue64 on a dead producer",
       .expected = {"waits"},
       .evidence = documented,
       .where = fake_and_gpu,
       .begin = Begin::bare,
       .ask_with = ask_dead_producer,
       .second = produce_nothing},
      {.number = 93,
       .what = "StreamQuery while waiting",
       .expected = {"600"},
       .evidence = documented,
       .where = fake_and_gpu,
       .ask = ask_query_while_waiting},
      {.number = 94,
       .what = "after 700: every further call",
       .expected = {"700"},
       .evidence = documented,
       .where = fake_and_gpu,
       .begin = Begin::alone,
       .ask = ask_after_fault},
      {.number = 96,
       .what = "current context destroyed",
       .expected = {"709"},
       .evidence = documented,
       .where = gpu,
       .begin = Begin::alone,
       .ask = ask_destroyed_context},
      {.number = 97,
       .what = "cuMemCreate memory after cuCtxDestroy",
       .expected = {"stays"},
       .evidence = documented,
       .where = gpu,
       .begin = Begin::alone,
       .ask = ask_memory_of_destroyed_context},
      {.number = 101,
       .what = "GetHandleForAddressRange flag on non-coherent PCIe",
       .expected = {"801"},
       .evidence = observed,
       .where = gpu,
       .ask = ask_dma_buf},
  };
}

}  // namespace strata::inline v0_1::conformance
