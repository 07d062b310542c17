#include "tools/terminal/wrap.h"

#include "tests/catch.h"

namespace strata::inline v0_1::tools {
namespace {

using Lines = std::vector<std::string>;

TEST_CASE("lines_are_broken_between_words_and_never_longer_than_the_width") {
  CHECK(wrap("one two three", 7) == "one two\nthree");
  CHECK(wrap("one two three", 6) == "one\ntwo\nthree");
  CHECK(wrap("one two three", 13) == "one two three");
  CHECK(wrap("", 10).empty());
}

TEST_CASE("a_word_longer_than_a_line_is_not_broken") {
  CHECK(wrap("a muchtoolong b", 4) == "a\nmuchtoolong\nb");
}

TEST_CASE("all_lines_but_the_first_are_indented_within_the_width") {
  CHECK(wrap("one two three", 9, 2) == "one two\n  three");
}

TEST_CASE("width_is_of_characters_and_not_of_bytes") { CHECK(wrap("µµ ßß", 5) == "µµ ßß"); }

TEST_CASE("paragraphs_are_what_stands_between_empty_lines") {
  CHECK(paragraphs("a\nb\n\n\nc\n") == Lines{"a b", "c"});
  CHECK(paragraphs("").empty());
}

TEST_CASE("definitions_share_a_column_and_long_terms_stand_alone") {
  CHECK(render({{"--a", "first of all"}, {"--long-one", "second"}, {"--b", ""}}, 16, 8) ==
        "  --a   first of\n        all\n  --long-one\n        second\n  --b\n");
}

TEST_CASE("definitions_are_read_from_lines") {
  const auto found = read_definitions("0  done\nHOME  a folder");
  REQUIRE(found.size() == 2);
  CHECK(found[0].term == "0");
  CHECK(found[1].meaning == "a folder");
}

}  // namespace
}  // namespace strata::inline v0_1::tools
