#include "tools/command/man_page.h"

#include "tests/catch.h"

namespace strata::inline v0_1::tools {
namespace {

bool has(const std::string& page, const std::string& text) {
  return page.find(text) != std::string::npos;
}

CommandNode& add(CommandNode& parent, const std::string& name) {
  parent.commands.push_back(std::make_unique<CommandNode>());
  CommandNode& made = *parent.commands.back();
  made.text.name = name;
  made.text.summary = "does it";
  made.parent = &parent;
  return made;
}

// strata, with cut and join in one section, paint in another, and a hidden command.
class Tree {
 public:
  Tree() {
    root.text = {.name = "strata", .summary = "all of it"};
    for (const char* name : {"cut", "join"})
      add(root, name).section = "Shape";
    add(root, "paint").section = "Look";
    add(root, "secret").text.is_hidden = true;
  }
  CommandNode& cut() { return *root.commands.front(); }

  CommandNode root;
};

TEST_CASE("a_page_has_the_sections_of_the_man_pages_project_in_its_order") {
  Tree tree;
  tree.cut().text.examples = "strata cut";
  const std::string page = man_page(tree.cut(), "1.2.3");
  CHECK(has(page, ".TH STRATA\\-CUT 1 \"\" \"strata 1.2.3\" \"Strata\"\n"));
  CHECK(has(page, ".SH NAME\nstrata\\-cut \\- does it\n"));
  std::size_t at = 0;
  for (const char* section : {".SH NAME", ".SH SYNOPSIS", ".SH DESCRIPTION", ".SH OPTIONS",
                              ".SH EXAMPLES", ".SH \"EXIT STATUS\"", ".SH \"SEE ALSO\""}) {
    const std::size_t found = page.find(section);
    REQUIRE(found != std::string::npos);
    CHECK(found >= at);
    at = found;
  }
}

TEST_CASE("no_text_is_taken_for_a_request_or_an_escape") {
  Tree tree;
  tree.cut().text.description = ".so /etc/passwd\n\n'br and \\n and `code-1` it's";
  const std::string page = man_page(tree.cut(), "1");
  CHECK(has(page, "\n\\&.so /etc/passwd\n"));
  CHECK(has(page, "\n\\(aqbr and \\en and \\fBcode\\-1\\fR it\\(aqs\n"));
}

TEST_CASE("a_page_names_those_that_stand_beside_it") {
  Tree tree;
  const std::string page = man_page(tree.cut(), "1");
  CHECK(has(page, "\\fBstrata\\fR(1),\n\\fBstrata\\-join\\fR(1)\n"));
  CHECK(!has(page, "paint"));
  CHECK(has(man_page(tree.root, "1"), "\\fBstrata\\-paint\\fR(1)\n"));
}

TEST_CASE("what_is_hidden_has_no_page_and_is_named_on_none") {
  Tree tree;
  std::vector<std::string> files;
  for (const CommandNode* const each : commands_with_pages(tree.root))
    files.push_back(man_page_file(*each));
  CHECK(files ==
        std::vector<std::string>{"strata.1", "strata-cut.1", "strata-join.1", "strata-paint.1"});
  CHECK(!has(man_page(tree.root, "1"), "secret"));
}

TEST_CASE("exit_statuses_are_those_of_all_commands_where_one_has_none_of_its_own") {
  Tree tree;
  CHECK(has(man_page(tree.cut(), "1"), ".TP\n\\fB3\\fR\nnot found: nothing of that name\n"));
  tree.cut().text.exit_status = "0  sound";
  CHECK(has(man_page(tree.cut(), "1"), ".TP\n\\fB0\\fR\nsound\n.SH"));
}

}  // namespace
}  // namespace strata::inline v0_1::tools
