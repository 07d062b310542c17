// Descriptors of allocations between processes that die.
#include <fcntl.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>

#include "tests/gpu/conformance/machine.h"

namespace strata::inline v0_1::conformance {
namespace {

constexpr std::uint64_t kWord = 0x57A7A;

// Makes memory that says kWord, and sends its descriptor.
void export_and_stay(const Place& place, Channel& first) {
  const Machine machine(place);
  const CuAllocation allocation = machine.create();
  if (machine.write_word(machine.map(allocation), kWord) != kSuccess) give_up("no copy");
  first.send_fd(machine.export_fd(allocation));
  first.stay();
}

Answer read_import(const Place& place, int fd) {
  const Machine machine(place);
  CuAllocation imported = 0;
  if (const CuResult result = machine.import(fd, &imported); result != kSuccess) {
    return codes({result});
  }
  std::uint64_t word = 0;
  const CuResult result = machine.read_word(machine.map(imported), &word);
  if (result != kSuccess) return said("reading gives " + codes({result}).text);
  return word == kWord ? codes({kSuccess}) : said("other bytes");
}

Answer ask_after_kill(const Place& place, Channel& second) {
  // This process has the device open before the exporter dies.
  const Machine machine(place);
  const int fd = second.receive_fd();
  second.kill_other();
  CuAllocation imported = 0;
  if (const CuResult result = machine.import(fd, &imported); result != kSuccess) {
    return codes({result});
  }
  std::uint64_t word = 0;
  const CuResult result = machine.read_word(machine.map(imported), &word);
  return result == kSuccess && word != kWord ? said("other bytes") : codes({result});
}

// Every file that a driver opens for a device.
void open_device_files(const Place& place) {
  for (const auto& entry : std::filesystem::directory_iterator(place.device_directory)) {
    const std::string name = entry.path().filename();
    if (name.starts_with("nvidia") && name.find_first_not_of("0123456789", 6) == name.npos) {
      (void)::open(entry.path().c_str(), O_RDWR | O_CLOEXEC);
    }
  }
}

Answer ask_descriptor_keeps(const Place& place, Channel& second) {
  const int fd = second.receive_fd();
  open_device_files(place);
  second.kill_other();
  const Answer answer = read_import(place, fd);
  return said(answer.text == "0" ? "yes" : "no: " + answer.text);
}

Answer ask_without_opener(const Place& place, Channel& second) {
  const int fd = second.receive_fd();
  second.kill_other();
  const Answer answer = read_import(place, fd);
  return said(answer.text == "0" ? "the memory is there" : "lost");
}

// From the last device, where there are two.
void export_from_last_device(const Place& place, Channel& first) {
  const Machine machine(place, -1);
  first.send(machine.device_count());
  first.send_fd(machine.export_fd(machine.create()));
  first.stay();
}

Answer ask_other_device_invisible(const Place& place, Channel& second) {
  const int count = second.receive<int>();
  const int fd = second.receive_fd();
  if (count < 2) return not_asked("needs two devices");
  const char* const visible = std::getenv("CUDA_VISIBLE_DEVICES");
  const std::string all = visible ? visible : "0";
  ::setenv("CUDA_VISIBLE_DEVICES", all.substr(0, all.find(',')).c_str(), 1);
  const Machine machine(place);
  CuAllocation imported = 0;
  return codes({machine.import(fd, &imported)});
}

}  // namespace

std::vector<Row> rows_of_processes() {
  using enum Evidence;
  using enum Where;
  return {
      {.number = 30,
       .what = "Import where the other GPU is invisible",
       .expected = {"801", "101"},
       .evidence = observed,
       .where = fake_and_special,
       .begin = Begin::bare,
       .ask_with = ask_other_device_invisible,
       .second = export_from_last_device},
      {.number = 32,
       .what = "Import after the exporter was SIGKILLed, fd held",
       .expected = {"0"},
       .evidence = unverified,
       .where = fake_and_gpu,
       .begin = Begin::bare,
       .ask_with = ask_after_kill,
       .second = export_and_stay},
      {.number = 33,
       .what = "fd open, all mappings and processes gone: memory stays",
       .expected = {"yes"},
       .evidence = observed,
       .where = fake_and_gpu,
       .begin = Begin::bare,
       .ask_with = ask_descriptor_keeps,
       .second = export_and_stay},
      {.number = 34,
       .what = "as 33, and the last opener of /dev/nvidiaN gone",
       .expected = {"lost"},
       .evidence = unverified,
       .where = fake_and_special,
       .begin = Begin::bare,
       .ask_with = ask_without_opener,
       .second = export_and_stay},
  };
}

}  // namespace strata::inline v0_1::conformance
