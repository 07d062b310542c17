#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>
#include <random>

#include "segment/lease.h"
#include "segment/new_identity.h"
#include "strata/segment/content_hash.h"
#include "strata/segment/header.h"
#include "strata/segment/offset.h"
#include "strata/segment/uri.h"
#include "tests/catch.h"

using namespace strata;

namespace {

RealOs os;

CreateOptions options_of(std::uint64_t bytes) {
  CreateOptions options;
  options.payload_bytes = bytes;
  return options;
}

std::array<std::byte, kHeaderBytes> valid_page() {
  const auto identity = make_identity(os, SegmentKind::shm, "mesh", options_of(MiB(1)));
  return make_header_page(identity.value());
}

}  // namespace

TEST_CASE("a_uri_is_taken_apart_and_put_together_again") {
  for (const char* text :
       {"shm:mesh", "pmem:/data/run.pool#mesh", "pmem:/odd#path/p#m", "cuda:weights.0"}) {
    CHECK(SegmentUri::parse(text).value().to_string() == text);
  }
  CHECK(SegmentUri::parse("pmem:/odd#path/p#m").value().container == "/odd#path/p");
}

TEST_CASE("a_name_that_could_leave_its_folder_or_garble_a_terminal_is_refused") {
  const std::string too_long(201, 'a');
  for (const std::string& name :
       {std::string(), std::string("a/b"), std::string(".."), std::string(".hidden"),
        std::string("-rf"), std::string("a\0b", 3), std::string("a\nb"), std::string("\x1b[2J"),
        std::string("ümlaut"), std::string("a b"), too_long}) {
    const auto parsed = SegmentUri::parse("shm:" + name);
    INFO(name);
    REQUIRE(!parsed);
    CHECK(parsed.error().code() == Code::invalid_argument);
    CHECK(parsed.error().message().find('\x1b') == std::string::npos);
  }
  CHECK(check_name(std::string(200, 'a')));
  for (const char* text : {"mesh", ":mesh", "SHM:mesh", "pmem:#x", ""}) {
    CHECK(!SegmentUri::parse(text));
  }
}

TEST_CASE("every_single_bit_flip_of_the_identity_block_is_refused") {
  const auto page = valid_page();
  REQUIRE(read_identity_block(page));
  for (std::size_t bit = 0; bit < sizeof(IdentityBlock) * 8; ++bit) {
    auto flipped = page;
    flipped[bit / 8] ^= std::byte{1} << (bit % 8);
    const auto read = read_identity_block(flipped);
    if (read) FAIL("bit " << bit << " went unnoticed");
    if (read.error().code() != Code::corrupt) FAIL("bit " << bit << ": " << read.error().message());
  }
}

TEST_CASE("a_header_of_a_newer_version_or_feature_is_unsupported_and_says_what_it_needs") {
  auto page = valid_page();
  auto* identity = reinterpret_cast<IdentityBlock*>(page.data());
  SECTION("major version") {
    identity->version_major = 2;
    sign(*identity);
    const auto read = read_identity_block(page);
    REQUIRE(!read);
    CHECK(read.error().code() == Code::unsupported);
    CHECK(read.error().message().find("2.0") != std::string::npos);
  }
  SECTION("required feature") {
    identity->features_required = 4;
    sign(*identity);
    const auto read = read_identity_block(page);
    REQUIRE(!read);
    CHECK(read.error().code() == Code::unsupported);
    CHECK(read.error().message().find("0x4") != std::string::npos);
  }
  SECTION("minor version and ignorable feature") {
    identity->version_minor = 9;
    identity->features_ignorable = ~0ull;
    sign(*identity);
    CHECK(read_identity_block(page));
  }
  SECTION("read-only feature") {
    identity->features_read_only = 1;
    sign(*identity);
    CHECK(must_attach_read_only(read_identity_block(page).value()));
  }
}

TEST_CASE("a_truncated_header_is_refused") {
  const auto page = valid_page();
  for (std::size_t bytes : {0ul, 1ul, 1023ul, 1024ul, 4095ul}) {
    CHECK(!read_identity_block(std::span(page).first(bytes)));
  }
}

TEST_CASE("signed_nonsense_is_refused_by_its_bounds") {
  const auto page = valid_page();
  const auto refuses = [&](auto change) {
    auto copy = page;
    auto* identity = reinterpret_cast<IdentityBlock*>(copy.data());
    change(*identity);
    sign(*identity);
    const auto read = read_identity_block(copy);
    return !read && read.error().code() == Code::corrupt;
  };
  CHECK(refuses([](IdentityBlock& i) { i.header_bytes = 8192; }));
  CHECK(refuses([](IdentityBlock& i) { i.kind = 0; }));
  CHECK(refuses([](IdentityBlock& i) { i.kind = 99; }));
  CHECK(refuses([](IdentityBlock& i) { i.lifetime = 0; }));
  CHECK(refuses([](IdentityBlock& i) { i.page_bytes = 12345; }));
  CHECK(refuses([](IdentityBlock& i) { i.page_bytes = 0; }));
  CHECK(refuses([](IdentityBlock& i) { i.payload_offset_bytes = 0; }));
  CHECK(refuses([](IdentityBlock& i) { i.payload_offset_bytes = 5000; }));
  CHECK(refuses([](IdentityBlock& i) { i.payload_offset_bytes = ~0ull << 12; }));
  CHECK(refuses([](IdentityBlock& i) { i.max_bytes = 1; }));
  CHECK(refuses([](IdentityBlock& i) { i.max_bytes = ~0ull; }));
  CHECK(refuses([](IdentityBlock& i) { i.created_payload_bytes = 0; }));
  CHECK(refuses([](IdentityBlock& i) { i.name.fill('a'); }));
  CHECK(refuses([](IdentityBlock& i) { i.job_id.fill('a'); }));
  CHECK(refuses([](IdentityBlock& i) { i.placement.fill('a'); }));
}

TEST_CASE("an_offset_resolves_only_to_aligned_objects_wholly_inside") {
  alignas(64) std::array<std::byte, 256> memory{};
  const std::span<std::byte> payload(memory);
  CHECK(resolve(payload, Offset<std::uint64_t>{8}) != nullptr);
  CHECK(resolve(payload, Offset<std::uint64_t>{248}) != nullptr);
  CHECK(resolve(payload, Offset<std::uint64_t>{0}) == nullptr);
  CHECK(resolve(payload, Offset<std::uint64_t>{7}) == nullptr);
  CHECK(resolve(payload, Offset<std::uint64_t>{249}) == nullptr);
  CHECK(resolve(payload, Offset<std::uint64_t>{256}) == nullptr);
  CHECK(resolve(payload, Offset<std::uint64_t>{~0ull & ~7ull}) == nullptr);
  CHECK(resolve(payload, Offset<std::uint64_t>{8}, 31) != nullptr);
  CHECK(resolve(payload, Offset<std::uint64_t>{8}, 32) == nullptr);
  CHECK(resolve(payload, Offset<std::uint64_t>{8}, ~0ull / 4) == nullptr);
}

TEST_CASE("create_options_that_cannot_be_are_refused_with_the_reason") {
  const auto code_of = [](CreateOptions options) {
    return check_create_options(options).error().code();
  };
  CHECK(code_of(options_of(0)) == Code::invalid_argument);
  CHECK(code_of(options_of(~0ull)) == Code::invalid_argument);
  CHECK(code_of(options_of(std::uint64_t{1} << 60)) == Code::invalid_argument);
  auto options = options_of(MiB(2));
  options.max_bytes = MiB(1);
  CHECK(code_of(options) == Code::invalid_argument);
  options = options_of(1);
  options.mode = 04600;
  CHECK(code_of(options) == Code::invalid_argument);
  options.mode = 0400;
  CHECK(code_of(options) == Code::invalid_argument);
  options = options_of(1);
  options.lifetime = Lifetime::job;
  CHECK(code_of(options) == Code::invalid_argument);
}

TEST_CASE("a_participants_token_is_its_own_and_dies_with_its_process") {
  const Fd file = os.memfd_create("locks", 0).value();
  const auto open_again = [&] { return os.reopen(file.get(), O_RDWR).value(); };
  std::atomic<std::uint32_t> next{kMaxToken};  // wraps, and 0 is skipped
  const auto join = [&](RealOs& with, std::atomic<std::uint32_t>& hint) {
    const ForkGate gate;
    return Participant::join(with, open_again(), kLockBaseBytes, hint, gate);
  };
  const auto me = join(os, next).value();
  CHECK(me->token() == kMaxToken);
  CHECK(me->is_alive(me->token()).value());
  int ready[2];
  REQUIRE(pipe(ready) == 0);
  const pid_t child = fork();
  if (child == 0) {
    RealOs child_os;
    std::atomic<std::uint32_t> their_next{kMaxToken};  // a hint that lies: the lock decides
    const auto they = join(child_os, their_next);
    // What was inherited from the parent is no token any more.
    const std::uint32_t answer[2] = {they ? (*they)->token() : 0, me->token()};
    (void)!write(ready[1], answer, sizeof answer);
    pause();
  }
  std::uint32_t answer[2] = {};
  REQUIRE(read(ready[0], answer, sizeof answer) == sizeof answer);
  CHECK(answer[0] == 1);
  CHECK(answer[1] == 0);
  CHECK(me->is_alive(answer[0]).value());
  CHECK(me->describe(answer[0]).find(std::to_string(child)) != std::string::npos);
  kill(child, SIGKILL);
  waitpid(child, nullptr, 0);
  CHECK_FALSE(me->is_alive(answer[0]).value());
  CHECK_FALSE(me->is_alive(0).value());
  CHECK_FALSE(me->is_alive(~0u).value());
}

TEST_CASE("the_content_hash_is_the_published_xxh3_128_of_the_bytes") {
  // From the reference implementation: XXH3_128bits of no bytes.
  CHECK(hash_text(content_hash({})) == "99aa06d3014798d86001c324468d497f");
}
