// Handles as bytes, and the comparison of a handle with what it led to.

#include "strata/segment/handle.h"

#include <cstring>
#include <functional>

#include "base/crc32c.h"
#include "segment/handle_check.h"
#include "segment/new_identity.h"
#include "tests/catch.h"

using namespace strata;
using Catch::Matchers::Contains;

namespace {

RealOs os;

Handle handle_of(std::string locator = "shm:mesh") {
  Handle handle;
  handle.uuid = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16};
  handle.payload_offset_bytes = kPageBytes;
  handle.payload_bytes = MiB(1);
  handle.max_bytes = MiB(2);
  handle.generation = 7;
  handle.boot_id = os.identity().boot_id;
  handle.exporter_pid = 4711;
  handle.descriptor_count = locator.empty() ? 1 : 0;
  handle.locator = std::move(locator);
  return handle;
}

// The bytes of a handle in which `change` was made, with a checksum that fits.
std::vector<std::byte> forged(const std::function<void(std::vector<std::byte>&)>& change) {
  std::vector<std::byte> bytes = encode(handle_of()).value();
  change(bytes);
  const auto all = std::span<const std::byte>(bytes);
  const std::uint32_t crc =
      crc32c(all.subspan(kHandleFixedBytes), crc32c(all.first(kHandleFixedBytes - 4)));
  std::memcpy(bytes.data() + kHandleFixedBytes - 4, &crc, sizeof crc);
  return bytes;
}

template <typename T>
Code code_with(std::size_t at, T value) {
  const auto decoded = decode(forged([&](std::vector<std::byte>& bytes) {
    std::memcpy(bytes.data() + at, &value, sizeof value);
  }));
  return decoded ? Code::internal : decoded.error().code();
}

Code encode_failure(const std::function<void(Handle&)>& change) {
  Handle handle = handle_of();
  change(handle);
  const auto bytes = encode(handle);
  return bytes ? Code::internal : bytes.error().code();
}

}  // namespace

TEST_CASE("a_handle_survives_the_wire_and_every_bit_flip_of_it_is_refused") {
  for (const std::string& locator :
       {std::string(), std::string("shm:mesh"), std::string("socket:/run/strata.sock"),
        "shm:" + std::string(200, 'a')}) {
    Handle handle = handle_of(locator);
    handle.mechanism = 3;
    handle.device_uuid = {9, 8, 7};
    handle.allocation_bytes = MiB(4);
    handle.driver_version = 12040;
    handle.control_slot = 5;
    const auto bytes = encode(handle).value();
    CHECK(bytes.size() == kHandleFixedBytes + locator.size());
    CHECK(decode(bytes).value() == handle);
    for (std::size_t bit = 0; bit < bytes.size() * 8; ++bit) {
      auto flipped = bytes;
      flipped[bit / 8] ^= std::byte{1} << (bit % 8);
      if (decode(flipped)) FAIL("bit " << bit << " went unnoticed");
    }
  }
}

TEST_CASE("a_handle_is_as_long_as_it_says_and_no_other_length_is_taken") {
  const auto bytes = encode(handle_of()).value();
  CHECK(handle_bytes(std::span(bytes).first(kHandleBeginningBytes)).value() == bytes.size());
  for (std::size_t size = 0; size < bytes.size(); ++size) {
    if (decode(std::span(bytes).first(size))) FAIL(size << " bytes were taken for a handle");
  }
  auto longer = bytes;
  longer.push_back(std::byte{0});
  CHECK(decode(longer).error().code() == Code::corrupt);
  CHECK(code_with(6, static_cast<std::uint16_t>(kHandleFixedBytes - 1)) == Code::corrupt);
  CHECK(code_with(6, static_cast<std::uint16_t>(0xffff)) == Code::corrupt);
}

TEST_CASE("the_longest_path_and_name_fit_into_a_handle_and_no_byte_more") {
  Handle handle = handle_of("pmem:/" + std::string(4095, 'p') + "#" + std::string(200, 'a'));
  handle.kind = SegmentKind::pmem;
  const auto bytes = encode(handle).value();
  CHECK(bytes.size() <= KiB(8));
  CHECK(decode(bytes).value() == handle);
  handle.locator = "pmem:/" + std::string(kMaxLocatorBytes - 8, 'p') + "#a";
  REQUIRE(handle.locator.size() == kMaxLocatorBytes);
  CHECK(decode(encode(handle).value()).value() == handle);
  handle.locator.insert(6, "p");
  CHECK(encode(handle).error().code() == Code::invalid_argument);
}

TEST_CASE("a_handle_of_another_version_is_refused_with_what_to_do") {
  for (const std::uint16_t version : {1, 3}) {
    const auto decoded = decode(forged([&](std::vector<std::byte>& bytes) {
      std::memcpy(bytes.data() + 4, &version, sizeof version);
    }));
    REQUIRE(!decoded);
    CHECK(decoded.error().code() == Code::unsupported);
    CHECK_THAT(decoded.error().message(), Contains("one version of Strata"));
  }
}

TEST_CASE("fields_that_cannot_be_are_refused_whatever_the_checksum_says") {
  constexpr std::uint64_t kZero = 0, kAll = ~0ull, kOdd = 5000;
  CHECK(code_with(0, std::uint32_t{7}) == Code::corrupt);                   // magic
  CHECK(code_with(8, std::uint8_t{0}) == Code::corrupt);                    // kind
  CHECK(code_with(8, std::uint8_t{5}) == Code::corrupt);                    // kind
  CHECK(code_with(8, std::uint8_t{2}) == Code::corrupt);                    // pmem at shm:mesh
  CHECK(code_with(9, std::uint8_t{0}) == Code::corrupt);                    // access
  CHECK(code_with(9, std::uint8_t{4}) == Code::corrupt);                    // access
  CHECK(code_with(10, std::uint8_t{9}) == Code::corrupt);                   // descriptors
  CHECK(code_with(11, std::uint8_t{1}) == Code::unsupported);               // reserved
  CHECK(code_with(187, std::uint8_t{1}) == Code::unsupported);              // reserved
  CHECK(code_with(12, std::uint32_t{7}) == Code::corrupt);                  // locator bytes
  CHECK(code_with(12, static_cast<std::uint32_t>(kAll)) == Code::corrupt);  // locator bytes
  CHECK(code_with(32, kOdd) == Code::corrupt);                              // payload offset
  CHECK(code_with(32, kAll << 12) == Code::corrupt);                        // payload offset
  CHECK(code_with(40, kZero) == Code::corrupt);                             // payload bytes
  CHECK(code_with(40, kAll) == Code::corrupt);                              // payload bytes
  CHECK(code_with(48, kAll) == Code::corrupt);                              // max bytes
  CHECK(code_with(kHandleFixedBytes, '\0') == Code::corrupt);               // scheme
  CHECK(code_with(kHandleFixedBytes + 5, '\0') == Code::corrupt);           // name
  CHECK(code_with(kHandleFixedBytes + 5, '\x1b') == Code::corrupt);         // name
}

TEST_CASE("a_handle_that_no_receiver_would_take_is_not_made") {
  CHECK(encode_failure([](Handle& h) { h.locator.clear(); }) == Code::invalid_argument);
  CHECK(encode_failure([](Handle& h) { h.descriptor_count = 9; }) == Code::invalid_argument);
  CHECK(encode_failure([](Handle& h) { h.payload_bytes = 0; }) == Code::invalid_argument);
  CHECK(encode_failure([](Handle& h) { h.max_bytes = 1; }) == Code::invalid_argument);
  for (const char* locator : {"mesh", "shm:../mesh", "fake:mesh", "socket:relative", "socket:"}) {
    INFO(locator);
    CHECK(encode_failure([&](Handle& h) { h.locator = locator; }) == Code::invalid_argument);
  }
  CHECK(encode_failure([](Handle& h) { h.locator = std::string("socket:/a\0b", 11); }) ==
        Code::invalid_argument);
  CHECK(encode_failure([](Handle& h) {
          h.kind = SegmentKind::pmem;
          h.locator = "pmem:run.pool#mesh";
        }) == Code::invalid_argument);
}

TEST_CASE("a_handle_is_used_only_for_its_kind_in_its_boot_and_for_what_it_grants") {
  const Handle handle = handle_of();
  const auto code_of = [](const Handle& h, const HandleRules& rules, Access access) {
    const auto checked = check_handle(h, rules, os, {.access = access});
    return checked ? Code::internal : checked.error().code();
  };
  constexpr HandleRules kShm{.kind = SegmentKind::shm};
  CHECK(check_handle(handle, kShm, os, {}));
  CHECK(code_of(handle, {.kind = SegmentKind::fake}, Access::read_only) == Code::corrupt);

  Handle other_boot = handle;
  other_boot.boot_id[3] ^= 1;
  CHECK(code_of(other_boot, kShm, Access::read_only) == Code::failed_precondition);
  CHECK(check_handle(other_boot, {.kind = SegmentKind::shm, .outlives_boot = true}, os, {}));

  for (const Access granted : {Access::read_only, Access::copy_on_write}) {
    Handle reading = handle;
    reading.access = granted;
    CHECK(code_of(reading, kShm, Access::read_write) == Code::permission_denied);
    CHECK(check_handle(reading, kShm, os, {.access = Access::read_only}));
    CHECK(check_handle(reading, kShm, os, {.access = Access::copy_on_write}));
  }
}

TEST_CASE("what_a_handle_led_to_must_be_the_segment_that_it_is_of") {
  CreateOptions options;
  options.payload_bytes = MiB(1);
  options.max_bytes = MiB(2);
  const IdentityBlock identity = make_identity(os, SegmentKind::shm, "mesh", options).value();
  Handle handle = handle_of();
  handle.uuid = identity.uuid;
  const HandleFinding same{identity, 7, MiB(1)};
  CHECK(check_led_to(handle, same));
  CHECK(check_led_to(handle, {identity, 7, MiB(2)}));  // it has grown since

  const auto is_stale = [&](const std::function<void(HandleFinding&)>& change) {
    HandleFinding found = same;
    change(found);
    const auto checked = check_led_to(handle, found);
    return !checked && checked.error().code() == Code::failed_precondition;
  };
  CHECK(is_stale([](HandleFinding& f) { f.identity.uuid[15] ^= 1; }));
  CHECK(is_stale([](HandleFinding& f) { f.identity.kind = 4; }));
  CHECK(is_stale([](HandleFinding& f) { f.generation = 8; }));
  CHECK(is_stale([](HandleFinding& f) { f.payload_bytes = MiB(1) - 1; }));
  CHECK(is_stale([](HandleFinding& f) { f.identity.max_bytes = MiB(4); }));
  CHECK(is_stale([](HandleFinding& f) { f.identity.payload_offset_bytes = MiB(2); }));
}
