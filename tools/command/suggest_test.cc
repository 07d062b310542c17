#include "tools/command/suggest.h"

#include "tests/catch.h"

namespace strata::inline v0_1::tools {
namespace {

using Names = std::vector<std::string>;

CommandNode& add(CommandNode& parent, const std::string& name) {
  parent.commands.push_back(std::make_unique<CommandNode>());
  CommandNode& made = *parent.commands.back();
  made.text.name = name;
  made.parent = &parent;
  return made;
}

TEST_CASE("edit_distance_counts_insertions_deletions_replacements_and_swaps") {
  CHECK(edit_distance("", "") == 0);
  CHECK(edit_distance("", "abc") == 3);
  CHECK(edit_distance("abc", "") == 3);
  CHECK(edit_distance("verify", "verify") == 0);
  CHECK(edit_distance("verfy", "verify") == 1);
  CHECK(edit_distance("veriffy", "verify") == 1);
  CHECK(edit_distance("vexify", "verify") == 1);
  CHECK(edit_distance("evrify", "verify") == 1);
  CHECK(edit_distance("kitten", "sitting") == 3);
  CHECK(edit_distance("ca", "abc") == 3);
}

TEST_CASE("edit_distance_is_symmetric") {
  for (const char* a : {"ls", "seal", "topology", "pool"}) {
    for (const char* b : {"ls", "map", "seal", "top"})
      CHECK(edit_distance(a, b) == edit_distance(b, a));
  }
}

TEST_CASE("the_nearest_names_are_suggested_and_far_ones_are_not") {
  const Names known = {"ls", "seal", "heap", "map", "top", "topology"};
  CHECK(suggestions("lss", known) == Names{"ls"});
  CHECK(suggestions("sael", known) == Names{"seal"});
  CHECK(suggestions("hep", known) == Names{"heap"});
  CHECK(suggestions("topolgy", known) == Names{"topology"});
  CHECK(suggestions("frobnicate", known).empty());
  CHECK(suggestions("x", known).empty());
  CHECK(suggestions("", known).empty());
  CHECK(suggestions(std::string(100'000, 'l'), known).empty());
}

TEST_CASE("a_beginning_suggests_what_it_begins") {
  CHECK(suggestions("topo", {"top", "topology"}) == Names{"top"});
  CHECK(suggestions("check", {"checkpoint"}) == Names{"checkpoint"});
}

TEST_CASE("options_are_compared_without_their_dashes") {
  CommandNode command;
  for (const char* name : {"--size", "--json", "--timeout-ms"})
    command.parameters.push_back({.name = name});
  CHECK(suggest_option(command, "--sise") == Names{"--size"});
  CHECK(suggest_option(command, "-json") == Names{"--json"});
  CHECK(suggest_option(command, "--time") == Names{"--timeout-ms"});
  CHECK(suggest_option(command, "--xy").empty());
  CHECK(suggest_option(command, "--").empty());
}

TEST_CASE("a_command_of_another_group_or_under_another_name_is_suggested") {
  CommandNode root;
  root.text.name = "strata";
  add(root, "ls").text.other_names = {"list"};
  add(root, "man").text.is_hidden = true;
  CommandNode& pool = add(root, "pool");
  add(pool, "backup");
  add(pool, "check");
  CHECK(suggest_command(root, "list") == Names{"ls"});
  CHECK(suggest_command(root, "backup") == Names{"strata pool backup"});
  CHECK(suggest_command(pool, "chekc") == Names{"check"});
  CHECK(suggest_command(root, "mann").empty());
}

TEST_CASE("suggestions_are_told_as_a_question") {
  CHECK(did_you_mean({}).empty());
  CHECK(did_you_mean({"ls"}) == ": did you mean `ls`?");
  CHECK(did_you_mean({"a", "b", "c"}) == ": did you mean `a`, `b` or `c`?");
}

}  // namespace
}  // namespace strata::inline v0_1::tools
