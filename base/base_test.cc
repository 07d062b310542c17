#include <string>
#include <vector>

#include "base/crc32c.h"
#include "base/printable.h"
#include "base/stream_copy.h"
#include "strata/base/bytes.h"
#include "strata/base/result.h"
#include "tests/catch.h"

using namespace strata;

namespace {

std::span<const std::byte> bytes_of(const std::string& text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

Result<int> half(int value) {
  if (value % 2) return fail(Code::invalid_argument, "odd");
  return value / 2;
}

Result<int> quarter(int value) {
  STRATA_ASSIGN(const int once, half(value));
  STRATA_ASSIGN(const int twice, half(once));
  return twice;
}

}  // namespace

TEST_CASE("crc32c_matches_the_rfc_3720_vectors") {
  CHECK(crc32c(bytes_of("123456789")) == 0xE3069283u);
  CHECK(crc32c(bytes_of(std::string(32, '\0'))) == 0x8A9136AAu);
  CHECK(crc32c(bytes_of(std::string(32, '\xff'))) == 0x62A8AB43u);
}

TEST_CASE("crc32c_of_two_parts_equals_crc32c_of_the_whole") {
  const std::string text = "the quick brown fox jumps over the lazy dog";
  for (std::size_t cut = 0; cut <= text.size(); ++cut) {
    const std::uint32_t first = crc32c(bytes_of(text.substr(0, cut)));
    CHECK(crc32c(bytes_of(text.substr(cut)), first) == crc32c(bytes_of(text)));
  }
}

TEST_CASE("a_late_message_is_put_together_from_its_numbers") {
  const auto said = [](const LateMessage& message) {
    return fail(Code::timed_out, message).status().message();
  };
  CHECK(said({"nobody is there"}) == "nobody is there");
  CHECK(said({"{} of {} are held", {3, 4}}) == "3 of 4 are held");
  CHECK(said({"{}{}{}", {1, 2, 18446744073709551615u}}) == "1218446744073709551615");
  CHECK(said({"no number is left for {}, {}, {}, {}", {1, 2, 3}}) ==
        "no number is left for 1, 2, 3, {}");
  const Status late(Code::timed_out, LateMessage{"held by token {}", {7}});
  CHECK(late.to_string() == "timed_out: held by token 7");
  CHECK(late.in("lock").message() == "lock: held by token 7");
  CHECK(late.sys_errno() == 0);
}

TEST_CASE("a_result_of_nothing_is_copied_moved_and_overwritten") {
  const Result<void> good;
  const Result<void> bad = fail(Code::not_found, "a reason that is longer than a short string");
  Result<void> copy = bad;
  CHECK(copy.error().message() == bad.error().message());
  Result<void> moved = std::move(copy);
  CHECK(moved.error().code() == Code::not_found);
  moved = good;
  CHECK(moved);
  moved = bad;
  CHECK(moved.error().message() == bad.error().message());
  moved = Result<void>(fail(Code::exhausted, "another reason, which is as long as that"));
  CHECK(moved.error().code() == Code::exhausted);
  moved = Result<void>();
  CHECK(moved);
  CHECK_NOTHROW(good.value());
  CHECK_THROWS_AS(bad.value(), BadResult);
}

TEST_CASE("parse_bytes_reads_what_people_write") {
  CHECK(parse_bytes("4096").value() == 4096);
  CHECK(parse_bytes("64M").value() == MiB(64));
  CHECK(parse_bytes("1.5G").value() == MiB(1536));
  CHECK(parse_bytes("2MiB").value() == MiB(2));
  CHECK(parse_bytes("16 kB").value() == KiB(16));
  CHECK(parse_bytes("9007199254740993").value() == 9007199254740993u);
}

TEST_CASE("parse_bytes_refuses_what_is_not_a_size") {
  for (const char* text : {"", "M", "-1", "12x", "1e30", "9999999T", "nan", "inf", "4 096", "-0"}) {
    INFO(text);
    REQUIRE(!parse_bytes(text));
    CHECK(parse_bytes(text).error().code() == Code::invalid_argument);
  }
}

TEST_CASE("every_unit_that_format_bytes_prints_can_be_parsed") {
  for (std::uint64_t bytes = 1; bytes <= GiB(1) << 32; bytes <<= 1)
    CHECK(parse_bytes(format_bytes(bytes)).value() == bytes);
}

TEST_CASE("count_of_says_one_of_one_thing") {
  CHECK(count_of(1, "block") == "1 block");
  CHECK(count_of(0, "block") == "0 blocks");
}

TEST_CASE("format_bytes_picks_the_largest_whole_unit") {
  CHECK(format_bytes(17) == "17 B");
  CHECK(format_bytes(MiB(64)) == "64 MiB");
  CHECK(format_bytes(MiB(1536)) == "1.5 GiB");
}

TEST_CASE("a_failure_passes_through_and_gathers_context") {
  CHECK(quarter(8).value() == 2);
  const auto failed = quarter(6);
  REQUIRE(!failed);
  CHECK(failed.error().in("quarter 6").to_string() == "invalid_argument: quarter 6: odd");
}

TEST_CASE("an_errno_becomes_the_code_that_the_caller_can_act_on") {
  CHECK(status_from_errno(ENOSPC, "x").code() == Code::exhausted);
  CHECK(status_from_errno(EACCES, "x").code() == Code::permission_denied);
  CHECK(status_from_errno(ENOENT, "x").sys_errno() == ENOENT);
}

TEST_CASE("a_stream_copy_is_a_copy_at_every_alignment_and_length") {
  constexpr std::size_t kRoom = 512;
  std::vector<std::byte> source(kRoom);
  for (std::size_t i = 0; i < kRoom; ++i)
    source[i] = static_cast<std::byte>(i * 7 + 1);
  for (const std::size_t to : {0u, 1u, 15u, 16u, 63u, 64u}) {
    for (const std::size_t from : {0u, 3u, 16u}) {
      for (std::size_t bytes = 0; bytes < 300; ++bytes) {
        std::vector<std::byte> target(kRoom), expected(kRoom);
        stream_copy(target.data() + to, source.data() + from, bytes);
        for (std::size_t i = 0; i < bytes; ++i)
          expected[to + i] = source[from + i];
        INFO("to " << to << ", from " << from << ", bytes " << bytes);
        REQUIRE(target == expected);
      }
    }
  }
}

TEST_CASE("printable_text_is_left_alone_and_all_else_is_shown_in_hex") {
  CHECK(printable("plain text, \\ and 'quotes'") == "plain text, \\ and 'quotes'");
  CHECK(printable("µß – 日本語 🙂") == "µß – 日本語 🙂");
  CHECK(printable(std::string_view("a\0b", 3)) == "a\\x00b");
  CHECK(printable("\033[31m\a\b\t\r\n\x7f") == "\\x1b[31m\\x07\\x08\\x09\\x0d\\x0a\\x7f");
  // C1 controls: in UTF-8, and alone, where they are none.
  CHECK(printable("\xc2\x9b"
                  "1m\x9b") == "\\xc2\\x9b1m\\x9b");
  // What turns the direction of writing, hides, or breaks lines.
  CHECK(printable("\u202e\u2066\u200b\u2028\ufeff") ==
        "\\xe2\\x80\\xae\\xe2\\x81\\xa6\\xe2\\x80\\x8b\\xe2\\x80\\xa8\\xef\\xbb\\xbf");
  // Overlong, a surrogate, too large, cut short, a lone continuation.
  CHECK(printable("\xc0\x8a\xe0\x80\x8a") == "\\xc0\\x8a\\xe0\\x80\\x8a");
  CHECK(printable("\xed\xa0\x80\xf4\x90\x80\x80") == "\\xed\\xa0\\x80\\xf4\\x90\\x80\\x80");
  CHECK(printable("\xe6\x97") == "\\xe6\\x97");
  CHECK(printable("\xe6"
                  "a") == "\\xe6a");
}
