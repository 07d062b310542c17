// Decodes handles that anybody may have sent; the first byte says whether the checksum is made
// to fit.

#include <cstdlib>
#include <cstring>

#include "base/crc32c.h"
#include "segment/handle.h"

using namespace strata;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 1) return 0;
  std::array<std::byte, kHandleBytes> bytes =
      encode({.payload_bytes = 1, .max_bytes = 1, .name = {}}).value();
  std::memcpy(bytes.data() + (data[0] & 4 ? 8 : 0), data + 1, std::min(size - 1, kHandleBytes - 8));
  if (data[0] & 1) {
    const std::uint32_t crc = crc32c(std::span(bytes).first(kHandleBytes - 4));
    std::memcpy(bytes.data() + kHandleBytes - 4, &crc, sizeof crc);
  }
  const auto handle = decode(bytes);
  if (!handle) return 0;
  // What was accepted can be sent on and means the same.
  if (decode(encode(*handle).value()).value() != *handle) std::abort();
  return 0;
}
