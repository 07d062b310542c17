// Pinned memory of the host.
#include <sys/mman.h>

#include "tests/gpu/conformance/machine.h"

namespace strata::inline v0_1::conformance {
namespace {

constexpr std::size_t kPage = 4096;

char* pages(std::size_t count, int rights = PROT_READ | PROT_WRITE) {
  void* const memory =
      ::mmap(nullptr, count * kPage, rights, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) give_up("no memory");
  return static_cast<char*>(memory);
}

Answer ask_unaligned(Machine& machine) {
  char* const memory = pages(4) + 100;
  return codes({machine.call().cuMemHostRegister(memory, kPage + 1, 0),
                machine.call().cuMemHostUnregister(memory)});
}

Answer ask_overlapping(Machine& machine) {
  char* const memory = pages(4);
  if (machine.call().cuMemHostRegister(memory, 3 * kPage, 0) != kSuccess) {
    return said("the first failed");
  }
  return codes({machine.call().cuMemHostRegister(memory + 2 * kPage, 2 * kPage, 0)});
}

Answer ask_unregister_others(Machine& machine) {
  void* allocated = nullptr;
  if (machine.call().cuMemHostAlloc(&allocated, kPage, 0) != kSuccess) return said("no memory");
  const CuResult own = machine.call().cuMemHostUnregister(allocated);
  const CuResult unknown = machine.call().cuMemHostUnregister(pages(1));
  return said(codes({own}).text + " / " + codes({unknown}).text);
}

Answer ask_too_much(Machine& machine) {
  if (!machine.is_fake()) return not_asked("needs 512 GiB of memory");
  constexpr std::size_t kTooMuch = std::size_t{512} << 30;
  return codes({machine.call().cuMemHostRegister(pages(kTooMuch / kPage), kTooMuch, 0)});
}

Answer ask_read_only(Machine& machine) {
  char* const memory = pages(1, PROT_READ);
  const CuResult without = machine.call().cuMemHostRegister(memory, kPage, 0);
  if (machine.attribute(kAttributeReadOnlyHostRegisterSupported) != 0) {
    const CuResult with = machine.call().cuMemHostRegister(memory, kPage, kHostRegisterReadOnly);
    if (with != kSuccess) return said("with the flag: " + codes({with}).text);
  }
  return codes({without});
}

}  // namespace

std::vector<Row> rows_of_host_memory() {
  using enum Evidence;
  using enum Where;
  return {
      {.number = 82,
       .what = "MemHostRegister unaligned",
       .expected = {"0"},
       .evidence = observed,
       .where = fake_and_gpu,
       .ask = ask_unaligned},
      {.number = 83,
       .what = "MemHostRegister overlapping",
       .expected = {"712"},
       .evidence = observed,
       .where = fake_and_gpu,
       .ask = ask_overlapping},
      {.number = 84,
       .what = "MemHostUnregister of a MemHostAlloc pointer / unknown",
       .expected = {"1 / 713"},
       .evidence = observed,
       .where = fake_and_gpu,
       .ask = ask_unregister_others},
      {.number = 85,
       .what = "MemHostRegister ≥ 512 GiB in one call, r580+",
       .expected = {"2"},
       .evidence = observed,
       .where = fake_and_special,
       .ask = ask_too_much},
      {.number = 86,
       .what = "MemHostRegister of read-only pages",
       .expected = {"1"},
       .evidence = unverified,
       .where = fake_and_gpu,
       .ask = ask_read_only},
  };
}

}  // namespace strata::inline v0_1::conformance
