// The verbs of Segment that work for every kind of memory, also where the host cannot address it.

#include <algorithm>
#include <random>
#include <vector>

#include "strata/segment/content_hash.h"
#include "tests/catch.h"
#include "tests/conformance/backend_fixture.h"

using namespace strata;

namespace {

std::vector<std::byte> random_bytes(std::size_t count) {
  const unsigned seed = std::random_device{}();
  UNSCOPED_INFO("seed " << seed);
  std::mt19937 random(seed);
  std::vector<std::byte> bytes(count);
  for (std::byte& byte : bytes)
    byte = static_cast<std::byte>(random());
  return bytes;
}

struct Verbs {
  std::unique_ptr<BackendFixture> fixture = make_fixture();
  Backend& backend = fixture->backend();

  Segment create(std::uint64_t bytes, CreateOptions options = {}) {
    options.payload_bytes = bytes;
    auto segment = backend.create(fixture->uri("verbs"), options);
    if (!segment) FAIL(segment.error().to_string());
    return std::move(*segment);
  }
  Segment attach(Access access) {
    auto segment = backend.attach(fixture->uri("verbs"), {.access = access});
    if (!segment) FAIL(segment.error().to_string());
    return std::move(*segment);
  }
};

}  // namespace

TEST_CASE_METHOD(Verbs, "what_is_written_and_settled_is_read_by_others") {
  const auto content = random_bytes(100'001);
  Segment made = create(content.size());
  REQUIRE(made.write(0, std::span(content).first(50'000)));
  REQUIRE(made.write(50'000, std::span(content).subspan(50'000)));
  REQUIRE(made.settle());
  const Segment reader = attach(Access::read_only);
  std::vector<std::byte> seen(content.size());
  REQUIRE(reader.read(0, seen));
  CHECK(std::equal(seen.begin(), seen.end(), content.begin()));
  std::vector<std::byte> middle(1000);
  REQUIRE(reader.read(70'000, middle));
  CHECK(std::equal(middle.begin(), middle.end(), content.begin() + 70'000));
  if (const auto host = reader.host_bytes()) {
    CHECK(std::equal(host->begin(), host->end(), content.begin(), content.end()));
  }
}

TEST_CASE_METHOD(Verbs, "reading_and_writing_stay_within_the_payload") {
  Segment made = create(5000);
  std::vector<std::byte> bytes(100);
  CHECK(made.read(4900, bytes));
  CHECK(made.write(4900, bytes));
  CHECK(made.read(5000, {}));
  CHECK(made.write(5000, {}));
  for (const std::uint64_t offset : {4901ull, 5000ull, ~0ull, ~0ull - 99}) {
    CHECK(made.read(offset, bytes).error().code() == Code::invalid_argument);
    CHECK(made.write(offset, bytes).error().code() == Code::invalid_argument);
  }
}

TEST_CASE_METHOD(Verbs, "a_reader_does_not_write") {
  Segment made = create(5000);
  std::vector<std::byte> bytes(100);
  CHECK(attach(Access::read_only).write(0, bytes).error().code() == Code::failed_precondition);
  REQUIRE(made.seal());
  CHECK(made.write(0, bytes).error().code() == Code::failed_precondition);
  CHECK(made.read(0, bytes));
}

TEST_CASE_METHOD(Verbs, "the_hash_of_a_seal_is_that_of_the_bytes_whatever_the_memory") {
  const auto content = random_bytes(9'000'001);  // more than goes through a buffer at once
  Segment made = create(content.size());
  REQUIRE(made.write(0, content));
  const auto sealed = made.seal();
  if (!sealed) FAIL(sealed.error().to_string());
  CHECK(read_seal_block(header_page_of(made))->hash == content_hash(content));
  CHECK(made.verify());
  CHECK(attach(Access::read_only).verify());
}

TEST_CASE_METHOD(Verbs, "what_grows_is_zero_and_can_be_written") {
  if (!backend.capabilities().has(Capability::grow)) {
    const auto refused =
        backend.create(fixture->uri("verbs"), {.payload_bytes = 1000, .max_bytes = 200'000});
    REQUIRE(!refused);
    CHECK(refused.error().code() == Code::unsupported);
    return;
  }
  Segment made = create(5000, {.max_bytes = 300'000, .placement = {}, .job_id = {}});
  const auto content = random_bytes(100'000);
  REQUIRE(made.grow(300'000));
  std::vector<std::byte> fresh(295'000);
  REQUIRE(made.read(5000, fresh));
  CHECK(std::all_of(fresh.begin(), fresh.end(), [](std::byte b) { return b == std::byte{0}; }));
  REQUIRE(made.write(200'000, content));
  std::vector<std::byte> seen(content.size());
  REQUIRE(attach(Access::read_only).read(200'000, seen));
  CHECK(seen == content);
}

TEST_CASE_METHOD(Verbs, "whoever_attaches_is_told_what_the_payload_is") {
  const Content wanted{.type = "array", .element = "<f4", .shape = {50, 20}};
  const Segment made = create(0, {.placement = {}, .job_id = {}, .content = wanted});
  CHECK(made.payload_bytes() == 4000);
  CHECK(made.content().value() == wanted);
  CHECK(attach(Access::read_only).content().value() == wanted);
  const auto stat = backend.stat(fixture->uri("verbs"));
  if (stat) CHECK(stat->content.value() == wanted);
}

TEST_CASE_METHOD(Verbs, "of_plain_bytes_nothing_is_told") {
  const Segment made = create(5000);
  CHECK(made.content().value().is_plain());
  CHECK(attach(Access::read_only).content().value().is_plain());
}

TEST_CASE_METHOD(Verbs, "content_that_does_not_fit_makes_no_segment") {
  const auto refused = [&](const CreateOptions& options) {
    const auto made = backend.create(fixture->uri("verbs"), options);
    REQUIRE(!made);
    CHECK(made.error().code() == Code::invalid_argument);
  };
  refused({.payload_bytes = 3999,
           .placement = {},
           .job_id = {},
           .content = {.element = "<f4", .shape = {50, 20}}});
  refused({.payload_bytes = 4000,
           .placement = {},
           .job_id = {},
           .content = {.element = "f4", .shape = {50, 20}}});
  refused({.placement = {}, .job_id = {}, .content = {.type = "strata.Lock"}});
  CHECK(backend.attach(fixture->uri("verbs"), {.timeout_ms = 1}).error().code() == Code::not_found);
}

TEST_CASE_METHOD(Verbs, "what_the_payload_is_stays_when_it_is_moved_or_sealed") {
  const Content wanted{.type = "array", .element = "<f4", .shape = {50, 20}};
  Segment made = create(0, {.placement = {}, .job_id = {}, .content = wanted});
  if (backend.capabilities().has(Capability::migrate)) {
    REQUIRE(made.migrate(on_node(0)));
    CHECK(made.content().value() == wanted);
  }
  REQUIRE(made.seal());
  CHECK(made.content().value() == wanted);
  CHECK(attach(Access::read_only).content().value() == wanted);
}

TEST_CASE_METHOD(Verbs, "an_array_grows_by_the_rows_that_its_payload_has_room_for") {
  if (!backend.capabilities().has(Capability::grow)) return;
  Segment made = create(0, {.max_bytes = 100'000,
                            .placement = {},
                            .job_id = {},
                            .content = {.element = "<f4", .shape = {50, 20}}});
  Segment other = attach(Access::read_only);
  REQUIRE(made.grow(8100));
  CHECK(made.content()->shape == std::vector<std::uint64_t>{101, 20});
  CHECK(other.content()->shape == std::vector<std::uint64_t>{50, 20});
  REQUIRE(other.refresh());
  CHECK(other.content()->shape == std::vector<std::uint64_t>{101, 20});
}

TEST_CASE_METHOD(Verbs, "what_its_creator_publishes_is_there_for_whoever_waited") {
  const auto content = random_bytes(20'000);
  Segment made =
      create(content.size(), {.placement = {}, .publish = Publish::by_creator, .job_id = {}});
  CHECK(backend.attach(fixture->uri("verbs"), {.timeout_ms = 1}).error().code() == Code::not_ready);
  REQUIRE(made.write(0, content));
  REQUIRE(made.publish());
  std::vector<std::byte> seen(content.size());
  REQUIRE(attach(Access::read_only).read(0, seen));
  CHECK(seen == content);
}
