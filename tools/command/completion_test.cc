#include "tools/command/completion.h"

#include "tests/catch.h"

namespace strata::inline v0_1::tools {
namespace {

using Words = std::vector<std::string>;
using Wants = Completion::Wants;

// strata ls [PATTERN]; put FILE URI --node N --tier a|b --svg FILE; pool check PATH; man, hidden.
class Tree {
 public:
  Tree() {
    root.text.name = "strata";
    root.parameters.push_back({.name = "--json"});
    add(root, "ls").parameters.push_back({.name = "PATTERN", .is_word = true});
    CommandNode& put = add(root, "put");
    put.parameters = {{.name = "FILE", .is_word = true},
                      {.name = "URI", .is_word = true},
                      {.name = "--node", .value = "N"},
                      {.name = "--tier", .value = "WHICH", .choices = {"fast", "large"}},
                      {.name = "--svg", .value = "FILE"},
                      {.name = "--pool", .value = "PATH", .is_repeated = true}};
    add(add(root, "pool"), "check").parameters.push_back({.name = "PATH", .is_word = true});
    add(root, "help").parameters.push_back({.name = "COMMAND", .is_word = true});
    add(root, "secret").text.is_hidden = true;
  }

  Words operator()(const Words& words) const {
    Words found;
    for (const Candidate& each : complete(root, words).candidates)
      found.push_back(each.text);
    return found;
  }
  Wants wants(const Words& words) const { return complete(root, words).wants; }

  CommandNode root;

 private:
  static CommandNode& add(CommandNode& parent, const std::string& name) {
    parent.commands.push_back(std::make_unique<CommandNode>());
    CommandNode& made = *parent.commands.back();
    made.text.name = name;
    made.parent = &parent;
    return made;
  }
};

TEST_CASE("commands_are_completed_but_for_hidden_ones") {
  const Tree tree;
  CHECK(tree({""}) == Words{"ls", "put", "pool", "help"});
  CHECK(tree({"p"}) == Words{"put", "pool"});
  CHECK(tree({"s"}).empty());
  CHECK(tree({"pool", ""}) == Words{"check"});
  CHECK(tree({"nothing", ""}).empty());
  CHECK(tree({}).empty());
}

TEST_CASE("options_are_offered_once_unless_they_may_be_repeated") {
  const Tree tree;
  CHECK(tree({"put", "--"}) == Words{"--node", "--tier", "--svg", "--pool"});
  CHECK(tree({"put", "--node", "0", "--pool", "p", "--"}) == Words{"--tier", "--svg", "--pool"});
  CHECK(tree({"put", "--", "--"}).empty());
  CHECK(tree({"--"}) == Words{"--json"});
}

TEST_CASE("values_of_options_are_completed_behind_a_blank_and_behind_an_equals_sign") {
  const Tree tree;
  CHECK(tree({"put", "--tier", ""}) == Words{"fast", "large"});
  CHECK(tree({"put", "--tier", "l"}) == Words{"large"});
  CHECK(tree({"put", "--tier=f"}) == Words{"--tier=fast"});
  CHECK(tree({"put", "--node", ""}).empty());
  CHECK(tree.wants({"put", "--node", ""}) == Wants::nothing);
  CHECK(tree.wants({"put", "--svg", ""}) == Wants::files);
  CHECK(complete(tree.root, {"put", "--svg=a/b"}).typed == "a/b");
}

TEST_CASE("words_are_completed_by_what_they_stand_for_wherever_options_are") {
  const Tree tree;
  CHECK(tree.wants({"ls", ""}) == Wants::segments);
  CHECK(tree.wants({"put", ""}) == Wants::files);
  CHECK(tree.wants({"put", "file", ""}) == Wants::segments);
  CHECK(tree.wants({"put", "--node", "0", "file", "--json", "shm:"}) == Wants::segments);
  CHECK(tree.wants({"put", "file", "uri", ""}) == Wants::nothing);
  CHECK(tree.wants({"pool", "check", ""}) == Wants::files);
}

TEST_CASE("help_is_completed_with_commands") {
  const Tree tree;
  CHECK(tree({"help", "p"}) == Words{"put", "pool"});
  CHECK(tree({"help", "pool", ""}) == Words{"check"});
  CHECK(tree({"help", "ls", ""}).empty());
}

TEST_CASE("a_line_is_split_as_a_shell_splits_it") {
  CHECK(split_shell_line("strata ls ").words == Words{"strata", "ls", ""});
  CHECK(split_shell_line("strata  l").words == Words{"strata", "l"});
  CHECK(split_shell_line("").words == Words{""});
  CHECK(split_shell_line("a 'b c' \"d'e\" f\\ g").words == Words{"a", "b c", "d'e", "f g"});
  CHECK(split_shell_line("a '' ").words == Words{"a", "", ""});
  CHECK(split_shell_line("a 'pmem:x#").words == Words{"a", "pmem:x#"});
  CHECK(split_shell_line("a 'pmem:x#").is_quoted);
  CHECK(!split_shell_line("a 'b'").is_quoted);
  CHECK(split_shell_line("a\\").words == Words{"a\\"});
}

TEST_CASE("bash_keeps_what_stands_before_the_last_word_break") {
  CHECK(kept_by_bash("shm:me", " :=") == 4);
  CHECK(kept_by_bash("--uri=shm:me", " :=") == 10);
  CHECK(kept_by_bash("--uri=me", " =") == 6);
  CHECK(kept_by_bash("shm:me", " =") == 0);
  CHECK(kept_by_bash("mesh", " :=") == 0);
}

TEST_CASE("there_is_a_script_for_each_shell") {
  for (const char* shell : {"bash", "zsh", "fish"})
    CHECK(completion_script(shell).find("__complete") != std::string_view::npos);
  CHECK(completion_script("csh").empty());
}

}  // namespace
}  // namespace strata::inline v0_1::tools
