// The bytes of a header page, held against a committed file: a change of layout is a change of
// version, never an accident. docs/format/header.md is the text of the same contract.

#include <algorithm>

#include "segment/new_identity.h"
#include "strata/segment/handle.h"
#include "tests/catch.h"
#include "tests/format/golden.h"

using namespace strata;

namespace {

template <std::size_t N>
void put(std::array<char, N>& field, std::string_view text) {
  std::copy(text.begin(), text.end(), field.begin());
}

std::array<std::byte, kHeaderBytes> golden_header(const Content& content = {}) {
  IdentityBlock identity{};
  identity.magic = kHeaderMagic;
  identity.version_major = 1;
  identity.header_bytes = kHeaderBytes;
  identity.features_ignorable = 0x0101010101010101;
  identity.kind = static_cast<std::uint32_t>(SegmentKind::shm);
  identity.lifetime = static_cast<std::uint32_t>(Lifetime::job);
  for (std::size_t i = 0; i < 16; ++i) {
    identity.uuid[i] = static_cast<std::uint8_t>(0x10 + i);
    identity.boot_id[i] = static_cast<std::uint8_t>(0x20 + i);
  }
  identity.created_payload_bytes = 0x0000000000123456;
  identity.max_bytes = 0x0000000000abcdef;
  identity.payload_offset_bytes = kPageBytes;
  identity.page_bytes = kPageBytes;
  identity.page_size = static_cast<std::uint32_t>(PageSize::base);
  identity.creator_pid = 4711;
  identity.creator_uid = 1000;
  identity.creator_start_time_ticks = 0x1122334455;
  identity.creator_pid_namespace = 4026531836;
  identity.created_unix_ns = 1'700'000'000'000'000'000;
  put(identity.name, "mesh");
  put(identity.job_id, "slurm-42");
  put(identity.placement, "interleave:0,1!");
  sign(identity);
  return make_header_page(identity, SegmentState::initialising, content);
}

std::vector<std::byte> golden_handle() {
  Handle handle;
  handle.kind = SegmentKind::cuda;
  handle.access = Access::read_only;
  for (std::size_t i = 0; i < 16; ++i) {
    handle.uuid[i] = static_cast<std::uint8_t>(0x10 + i);
    handle.boot_id[i] = static_cast<std::uint8_t>(0x20 + i);
    handle.device_uuid[i] = static_cast<std::uint8_t>(0x30 + i);
  }
  handle.payload_offset_bytes = kPageBytes;
  handle.payload_bytes = 0x123456;
  handle.max_bytes = 0xabcdef;
  handle.generation = 0x0102030405060708;
  handle.exporter_pid = 4711;
  handle.exporter_start_time_ticks = 0x1122334455;
  handle.exporter_pid_namespace = 4026531836;
  handle.descriptor_count = 2;
  handle.locator = "cuda:mesh";
  handle.mechanism = 3;
  handle.allocation_bytes = 0x1000000;
  handle.driver_version = 12040;
  handle.control_slot = 17;
  return encode(handle).value();
}

}  // namespace

TEST_CASE("the_header_page_is_the_committed_golden_file") {
  const auto page = golden_header();
  check_golden(page, "header_v1.bin");
  CHECK(read_identity_block(page));
}

TEST_CASE("the_header_page_of_an_array_is_the_committed_golden_file") {
  const auto page = golden_header({.type = "array", .element = "<c16", .shape = {258, 48, 1}});
  check_golden(page, "header_array_v1.bin");
  const auto* const header = reinterpret_cast<const HeaderPage*>(page.data());
  CHECK(read_content_block(*header, header->identity, 0x123456)->to_string() ==
        "array of <c16, 258x48x1");
}

TEST_CASE("the_handle_is_the_committed_golden_file") {
  const auto handle = golden_handle();
  check_golden(handle, "handle_v2.bin");
  CHECK(decode(handle));
}

TEST_CASE("a_handle_of_version_1_is_refused_as_unsupported_with_what_to_do") {
  std::ifstream file("tests/format/handle_v1.bin", std::ios::binary);
  const std::string old{std::istreambuf_iterator<char>(file), {}};
  REQUIRE(old.size() == 256);
  const auto refused = decode(std::as_bytes(std::span(old)));
  REQUIRE(!refused);
  CHECK(refused.error().code() == Code::unsupported);
  CHECK(refused.error().message().find("version 1") != std::string::npos);
  CHECK(refused.error().message().find("URI") != std::string::npos);
}
