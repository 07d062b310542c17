// Decodes handles that anybody may have sent. The bits of the first byte say what is made to fit,
// so that what lies behind it is reached as well: 1 the checksum, 2 the lengths, 4 the first eight
// bytes; 8 gives the handle no locator.

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "base/crc32c.h"
#include "strata/segment/handle.h"

using namespace strata;

namespace {

constexpr std::size_t kCrcAt = kHandleFixedBytes - 4;
constexpr std::size_t kLengthAt = 6;
constexpr std::size_t kLocatorBytesAt = 12;

template <typename T>
void put(std::vector<std::byte>& bytes, std::size_t at, T value) {
  std::memcpy(bytes.data() + at, &value, sizeof value);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 1) return 0;
  const std::uint8_t fit = data[0];
  Handle valid;
  valid.payload_bytes = valid.max_bytes = 1;
  valid.descriptor_count = 1;
  if (!(fit & 8)) valid.locator = "shm:mesh";
  std::vector<std::byte> bytes = encode(valid).value();
  // The input overwrites it from the start or from behind its first words, and may be longer.
  const std::size_t at = fit & 4 ? kHandleBeginningBytes : 0;
  const std::size_t count = std::min(size - 1, 2 * kMaxHandleBytes);
  bytes.resize(std::max(bytes.size(), at + count));
  if (count > 0) std::memcpy(bytes.data() + at, data + 1, count);
  if (fit & 2) {
    put(bytes, kLengthAt, static_cast<std::uint16_t>(bytes.size()));
    put(bytes, kLocatorBytesAt, static_cast<std::uint32_t>(bytes.size() - kHandleFixedBytes));
  }
  if (fit & 1) {
    const auto all = std::span<const std::byte>(bytes);
    put(bytes, kCrcAt, crc32c(all.subspan(kHandleFixedBytes), crc32c(all.first(kCrcAt))));
  }
  if (const auto length = handle_bytes(bytes); length && *length > kMaxHandleBytes) std::abort();
  const auto handle = decode(bytes);
  if (!handle) return 0;
  // What was accepted can be sent on and means the same.
  if (decode(encode(*handle).value()).value() != *handle) std::abort();
  return 0;
}
