#include "tools/terminal/output.h"

#include "tests/catch.h"
#include "tools/terminal/svg.h"
#include "tools/terminal/table.h"

namespace strata::inline v0_1::tools {
namespace {

const Painter kPlain(false);

TEST_CASE("table_columns_are_as_wide_as_their_widest_cell") {
  Table table({{"name"}, {"size", Align::right}, {"note"}});
  table.add({"a", "1 KiB", "x"});
  table.add({"longer", "17 B"});
  CHECK(table.render(kPlain) ==
        "name     size  note\n"
        "a       1 KiB  x\n"
        "longer   17 B\n");
}

TEST_CASE("table_counts_characters_and_not_bytes") {
  Table table({{"x"}, {"y"}});
  table.add({"µß", "1"});
  table.add({"ab", "2"});
  CHECK(table.render(kPlain) == "x   y\nµß  1\nab  2\n");
}

TEST_CASE("colours_stand_around_the_text_and_not_around_its_padding") {
  Table table({{"x"}, {"y"}});
  table.add({Cell("a", Tone::good), "1"});
  table.add({"abc", "2"});
  CHECK(table.render(Painter(true)).find("\033[32ma\033[0m    1\n") != std::string::npos);
}

TEST_CASE("facts_align_their_values_under_headings") {
  Facts facts;
  facts.heading("identity");
  facts.add("name", "mesh");
  facts.add("payload", "64 MiB");
  CHECK(facts.render(kPlain) == "identity\n  name     mesh\n  payload  64 MiB\n");
}

TEST_CASE("what_comes_from_outside_cannot_forge_a_row_or_steer_the_terminal") {
  Table table({{"x"}, {"y"}});
  table.add({"a\nb", Cell("\033]0;owned\007", Tone::bad)});
  CHECK(table.render(kPlain) == "x       y\na\\x0ab  \\x1b]0;owned\\x07\n");
  Facts facts;
  facts.heading("\r\nheading");
  facts.add("na\tme", "\xc2\x9bK");
  CHECK(facts.render(kPlain) == "\\x0d\\x0aheading\n  na\\x09me  \\xc2\\x9bK\n");
}

TEST_CASE("bar_shows_its_share_in_eighths_and_never_overflows") {
  CHECK(bar(0, 4) == "    ");
  CHECK(bar(0.5, 4) == "██  ");
  CHECK(bar(1, 4) == "████");
  CHECK(bar(7, 4) == "████");
  CHECK(bar(-1, 2) == "  ");
  CHECK(bar(1.0 / 8, 1) == "▏");
  CHECK(bar(0.0 / 0.0, 1) == " ");
}

TEST_CASE("svg_escapes_what_xml_forbids") {
  Svg svg(100, 50);
  svg.text({0, 0}, "<a> & \"b\"\x01");
  const std::string text = svg.finish();
  CHECK(text.find("&lt;a&gt; &amp; &quot;b&quot;\\x01</text>") != std::string::npos);
  CHECK(text.find('\x01') == std::string::npos);
}

TEST_CASE("svg_numbers_are_short") {
  Svg svg(10, 10);
  svg.rect({.x = 1.0, .y = 0.333333, .width = 2.5, .height = 100}, {.fill = "red"});
  CHECK(svg.finish().find(R"(x="1" y="0.33" width="2.5" height="100")") != std::string::npos);
}

TEST_CASE("legend_wraps_at_its_width") {
  Svg svg(200, 100);
  CHECK(draw_legend(svg, {0, 0}, 1000, {{"red", "one"}, {"blue", "two"}}) == 22);
  CHECK(draw_legend(svg, {0, 0}, 50, {{"red", "one"}, {"blue", "two"}}) == 44);
}

}  // namespace
}  // namespace strata::inline v0_1::tools
