#include "strata/segment/content.h"

#include <cstring>

#include "base/crc32c.h"
#include "segment/new_identity.h"
#include "strata/segment/header.h"
#include "tests/catch.h"

using namespace strata;

namespace {

RealOs os;

Content array(std::string element, std::vector<std::uint64_t> shape) {
  return {.type = std::string(kArrayType), .element = std::move(element), .shape = shape};
}

// A header page as a creator makes it, to spoil and to read.
struct Page {
  Page(const Content& content, std::uint64_t payload_bytes) {
    CreateOptions options{.payload_bytes = payload_bytes, .max_bytes = payload_bytes + 1000};
    options.content = content;
    identity = make_identity(os, SegmentKind::shm, "mesh", options).value();
    bytes = make_header_page(identity, SegmentState::ready, content);
  }
  HeaderPage& header() { return *reinterpret_cast<HeaderPage*>(bytes.data()); }
  Result<Content> read(std::uint64_t payload_bytes) {
    return read_content_block(header(), identity, payload_bytes);
  }
  Result<Content> read() { return read(identity.created_payload_bytes); }

  IdentityBlock identity;
  alignas(HeaderPage) std::array<std::byte, kHeaderBytes> bytes;
};

Code code_of(const Result<Content>& content) {
  return content ? Code::internal : content.error().code();
}

}  // namespace

TEST_CASE("an_element_type_is_taken_as_numpy_spells_it_and_as_nothing_else") {
  const struct {
    const char* element;
    std::uint64_t bytes;
  } kGood[] = {{"<f8", 8},   {">f8", 8}, {"|u1", 1}, {"|i1", 1},   {"|b1", 1},   {"<c16", 16},
               {"<c32", 32}, {"<i2", 2}, {"<f2", 2}, {"<f16", 16}, {"|S12", 12}, {"|V3", 3},
               {"<U4", 16},  {">U1", 4}, {"|S1", 1}, {"|V1", 1}};
  for (const auto& [element, bytes] : kGood) {
    INFO(element);
    CHECK(parse_element(element).value().bytes == bytes);
    CHECK(spell_element(element).value() == element);
  }
  for (const char* element :
       {"",       "f8",     "<",      "<f",  "<f0", "<f08", "<f3",          "<f32",
        "|f8",    "=f8",    "<u1",    "<b1", "<S4", "<i16", "<b2",          "<O8",
        "<M8",    "<f8 ",   "<f-8",   "<c4", "|V0", "<U0",  "|V2147483648", "|V99999999999999",
        "|V0x10", "<f8<f8", "\x1b[2J"}) {
    INFO(element);
    const auto parsed = parse_element(element);
    REQUIRE(!parsed);
    CHECK(parsed.error().code() == Code::invalid_argument);
    CHECK(parsed.error().message().find('\x1b') == std::string::npos);
  }
}

TEST_CASE("what_people_write_for_an_element_type_becomes_the_spelling_of_headers") {
  const std::pair<const char*, const char*> kSpellings[] = {
      {"f8", "<f8"},      {"=f8", "<f8"},        {">i4", ">i4"},   {"u1", "|u1"},
      {"<u1", "|u1"},     {"S5", "|S5"},         {"U5", "<U5"},    {"float64", "<f8"},
      {"float32", "<f4"}, {"bool", "|b1"},       {"uint8", "|u1"}, {"int64", "<i8"},
      {"c8", "<c8"},      {"complex128", "<c16"}};
  for (const auto& [text, element] : kSpellings) {
    INFO(text);
    CHECK(spell_element(text).value() == element);
  }
  for (const char* text : {"", "float", "f", "<", "|f8", "float128", "object", "<<f8"}) {
    INFO(text);
    CHECK(!spell_element(text));
  }
}

TEST_CASE("content_that_no_header_takes_is_refused_with_the_rule") {
  const auto refuses = [](const Content& content, std::string_view why) {
    const auto bytes = content.bytes();
    if (bytes) return false;
    INFO(bytes.error().message());
    CHECK(bytes.error().code() == Code::invalid_argument);
    CHECK(bytes.error().message().find(why) != std::string::npos);
    return true;
  };
  CHECK(refuses({.type = "1st"}, "a letter first"));
  CHECK(refuses({.type = "a b"}, "letters, digits"));
  CHECK(refuses({.type = std::string("a\0b", 3)}, "letters, digits"));
  CHECK(refuses({.type = std::string(64, 'a')}, "up to 63"));
  CHECK(refuses({.type = "array", .shape = {4}}, "without an element type"));
  CHECK(refuses(array("<f9", {4}), "\"<f9\""));
  CHECK(refuses(array("<f8", std::vector<std::uint64_t>(17, 1)), "at most 16"));
  CHECK(refuses(array("<f8", {std::uint64_t{1} << 61}), "2^64"));
  CHECK(refuses(array("<f8", {std::uint64_t{1} << 32, std::uint64_t{1} << 32}), "2^64"));
  CHECK(Content{.type = std::string(63, 'a')}.bytes().value() == 0);
  CHECK(array("<f8", std::vector<std::uint64_t>(16, 1)).bytes().value() == 8);
  // Nothing times much is nothing, in any order.
  CHECK(array("<f8", {~0ull, ~0ull, 0}).bytes().value() == 0);
  CHECK(array("<f8", {}).bytes().value() == 8);
}

TEST_CASE("a_header_gives_back_the_content_that_it_was_made_with") {
  for (const Content& content :
       {Content(), array("<f8", {1000, 1000}), array("|b1", {3}), array(">c16", {}),
        array("<i4", {0, 5}), Content{.type = "strata.Lock"},
        array("|u1", std::vector<std::uint64_t>(16, 2))}) {
    INFO(content.to_string());
    Page page(content, 8'000'000);
    CHECK(page.read().value() == content);
  }
  // An element makes an array of it, without its saying so.
  Page page({.element = "<f8", .shape = {9, 3}}, 216);
  CHECK(page.read().value() == array("<f8", {9, 3}));
}

TEST_CASE("a_header_without_the_block_says_nothing_of_its_payload") {
  Page page({}, 100);
  const std::array<std::byte, sizeof(ContentBlock)> zeros{};
  CHECK(std::memcmp(&page.header().content, zeros.data(), zeros.size()) == 0);
  CHECK(page.read().value().is_plain());
}

TEST_CASE("every_single_bit_flip_of_the_content_block_is_refused") {
  for (const Content& content : {Content(), array("<f8", {1000, 1000})}) {
    Page page(content, 8'000'000);
    auto* const block = reinterpret_cast<unsigned char*>(&page.header().content);
    for (std::size_t bit = 0; bit < sizeof(ContentBlock) * 8; ++bit) {
      block[bit / 8] ^= static_cast<unsigned char>(1u << (bit % 8));
      const auto read = page.read();
      if (code_of(read) != Code::corrupt) FAIL("bit " << bit << " went unnoticed");
      block[bit / 8] ^= static_cast<unsigned char>(1u << (bit % 8));
    }
    REQUIRE(page.read());
  }
}

TEST_CASE("a_signed_block_that_contradicts_itself_or_the_size_gives_corrupt_and_never_a_size") {
  const auto says = [](auto change) {
    Page page(array("<f8", {1000, 1000}), 8'000'000);
    change(page.header().content);
    sign(page.header().content);
    return code_of(page.read());
  };
  CHECK(says([](ContentBlock&) {}) == Code::internal);  // it is read
  CHECK(says([](ContentBlock& b) { b.shape[0] = 1001; }) == Code::corrupt);
  CHECK(says([](ContentBlock& b) { b.shape[0] = ~0ull; }) == Code::corrupt);
  CHECK(says([](ContentBlock& b) { b.shape[0] = b.shape[1] = std::uint64_t{1} << 32; }) ==
        Code::corrupt);
  CHECK(says([](ContentBlock& b) { b.shape[2] = 1; }) == Code::corrupt);
  CHECK(says([](ContentBlock& b) { b.dimensions = 17; }) == Code::corrupt);
  CHECK(says([](ContentBlock& b) { b.dimensions = ~0u; }) == Code::corrupt);
  CHECK(says([](ContentBlock& b) { b.type.fill('a'); }) == Code::corrupt);
  CHECK(says([](ContentBlock& b) { b.type.fill('\0'); }) == Code::corrupt);
  CHECK(says([](ContentBlock& b) { b.type[0] = '\n'; }) == Code::corrupt);
  CHECK(says([](ContentBlock& b) { b.type[9] = 'x'; }) == Code::corrupt);
  CHECK(says([](ContentBlock& b) { b.element.fill('1'); }) == Code::corrupt);
  CHECK(says([](ContentBlock& b) { b.element.fill('\0'); }) == Code::corrupt);
  CHECK(says([](ContentBlock& b) { b.element[1] = 'O'; }) == Code::corrupt);
  CHECK(says([](ContentBlock& b) { b.element[15] = '\x1b'; }) == Code::corrupt);
  // A later version says more there, which this one would misunderstand.
  CHECK(says([](ContentBlock& b) { b.features_required = 1; }) == Code::unsupported);
  CHECK(says([](ContentBlock& b) { b.reserved[0] = 1; }) == Code::internal);
}

TEST_CASE("an_array_grows_with_its_payload_by_whole_rows") {
  Page page(array("<f8", {10, 3}), 240);
  CHECK(page.read(240).value().shape == std::vector<std::uint64_t>{10, 3});
  CHECK(page.read(263).value().shape == std::vector<std::uint64_t>{10, 3});
  CHECK(page.read(264).value().shape == std::vector<std::uint64_t>{11, 3});
  CHECK(page.read(1240).value().shape == std::vector<std::uint64_t>{51, 3});
}

TEST_CASE("an_array_that_begins_without_rows_gets_them_by_growth") {
  Page page(array("<f8", {0, 3}), 1);
  CHECK(page.read().value().shape == std::vector<std::uint64_t>{0, 3});
  CHECK(page.read(240).value().shape == std::vector<std::uint64_t>{10, 3});
  Page bytes(array("|u1", {0}), 1);
  CHECK(bytes.read().value().shape == std::vector<std::uint64_t>{0});
  CHECK(bytes.read(100).value().shape == std::vector<std::uint64_t>{100});
}

TEST_CASE("what_has_no_rows_or_left_room_for_more_at_creation_keeps_its_shape") {
  for (const Content& content : {array("<f8", {}), array("<f8", {5, 0}), array("<f8", {2}),
                                 Content{.type = "my.table", .element = "<f8", .shape = {100}}}) {
    INFO(content.to_string());
    Page page(content, 800);
    CHECK(page.read(1600).value() == content);
  }
}

TEST_CASE("a_size_that_is_not_told_follows_from_the_content") {
  const auto size_of = [](const Content& content, std::uint64_t told = 0) {
    CreateOptions options{.payload_bytes = told};
    options.content = content;
    REQUIRE(complete_create_options(options));
    return check_create_options(options) ? options.payload_bytes : 0;
  };
  CHECK(size_of(array("<f8", {1000, 1000})) == 8'000'000);
  CHECK(size_of(array("<f8", {1000, 1000}), 9'000'000) == 9'000'000);
  CHECK(size_of(array("<f8", {1000, 1000}), 7'999'999) == 0);
  CHECK(size_of(array("<f8", {0, 1000})) == 1);
  CHECK(size_of(array("|b1", {})) == 1);
  CHECK(size_of({.type = "strata.Lock"}) == 0);
  CHECK(size_of({.type = "strata.Lock"}, 64) == 64);
  CHECK(size_of(array("<f8", {std::uint64_t{1} << 50})) == 0);
  CreateOptions overflow;
  overflow.content = array("<f8", {~0ull});
  CHECK(complete_create_options(overflow).error().code() == Code::invalid_argument);
}
