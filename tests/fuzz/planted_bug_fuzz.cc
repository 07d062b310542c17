// A read past the end, for a few inputs only: fuzz_rule_test.py expects the fuzzer to find it.
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t data_bytes) {
  if (data_bytes < 4 || std::memcmp(data, "SEG", 3) != 0) return 0;
  const std::vector<std::uint8_t> table(16);
  const volatile std::uint8_t* entries = table.data();
  return entries[data[3]] == 255 ? 1 : 0;
}
