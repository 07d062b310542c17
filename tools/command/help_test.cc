#include "tools/command/help.h"

#include "tests/catch.h"

namespace strata::inline v0_1::tools {
namespace {

const Painter kPlain(false);

// strata: group; strata put FILE URI... --size SIZE --node N | --near PCI [--tier a|b]
class Tree {
 public:
  Tree() {
    root.text = {.name = "strata", .summary = "memory"};
    CommandNode& put = add("put");
    put.section = "Fill";
    put.text.summary = "copy a file";
    put.text.description = "First\nparagraph.\n\nSecond one.";
    put.text.examples = "strata put a shm:b\nstrata put - shm:b";
    put.parameters = {
        {.name = "--json", .help = "JSON", .is_common = true},
        {.name = "--help", .short_name = "-h", .help = "this help", .is_common = true},
        {.name = "FILE", .help = "what to copy", .is_word = true, .is_required = true},
        {.name = "URI", .help = "where to", .is_word = true, .is_repeated = true},
        {.name = "--size", .value = "SIZE", .help = "how much", .is_required = true},
        {.name = "--node", .value = "N", .help = "here", .alternative_of = "Placement"},
        {.name = "--near", .value = "PCI", .help = "there", .alternative_of = "Placement"},
        {.name = "--tier",
         .value = "WHICH",
         .help = "best",
         .shown_default = "a",
         .choices = {"a", "b"}}};
    add("secret").text.is_hidden = true;
  }

  CommandNode root;
  const CommandNode& put() const { return *root.find("put"); }

 private:
  CommandNode& add(const std::string& name) {
    root.commands.push_back(std::make_unique<CommandNode>());
    CommandNode& made = *root.commands.back();
    made.text.name = name;
    made.parent = &root;
    return made;
  }
};

TEST_CASE("usage_says_what_must_be_given") {
  const Tree tree;
  CHECK(tree.put().usage() == "strata put FILE [URI...] --size SIZE [OPTIONS]");
  CHECK(tree.root.usage() == "strata COMMAND [OPTIONS]");
  CHECK(tree.put().path("-") == "strata-put");
  CHECK(help_command(tree.put()) == "strata help put");
  CHECK(help_command(tree.root) == "strata help");
}

TEST_CASE("help_has_every_part_once_and_in_order") {
  const Tree tree;
  CHECK(help_text(tree.put(), kPlain) ==
        "strata put: copy a file\n"
        "\n"
        "Usage: strata put FILE [URI...] --size SIZE [OPTIONS]\n"
        "\n"
        "First paragraph.\n"
        "\n"
        "Second one.\n"
        "\n"
        "Words:\n"
        "  FILE                    what to copy\n"
        "  URI...                  where to\n"
        "\n"
        "Options:\n"
        "  --size SIZE             how much (required)\n"
        "  --tier a|b              best (default a)\n"
        "  --json                  JSON\n"
        "  -h, --help              this help\n"
        "\n"
        "Placement (at most one of these):\n"
        "  --node N                here\n"
        "  --near PCI              there\n"
        "\n"
        "Examples:\n"
        "  strata put a shm:b\n"
        "  strata put - shm:b\n");
}

TEST_CASE("help_of_a_group_lists_its_commands_but_for_hidden_ones") {
  const Tree tree;
  const std::string text = help_text(tree.root, kPlain);
  CHECK(text.find("\nFill:\n  put         copy a file\n") != std::string::npos);
  CHECK(text.find("secret") == std::string::npos);
}

TEST_CASE("help_as_json_has_the_same_parts") {
  const Tree tree;
  const Json json = help_json(tree.put());
  CHECK(json["command"] == "strata put");
  CHECK(json["description"] == Json({"First paragraph.", "Second one."}));
  CHECK(json["words"][1]["repeated"] == true);
  CHECK(json["options"].size() == 6);
  CHECK(json["options"][3]["alternative_of"] == "Placement");
  CHECK(help_json(tree.root)["commands"].size() == 1);
}

TEST_CASE("a_walk_finds_the_command_and_what_is_not_known") {
  const Tree tree;
  const Walk all = walk(tree.root, {"put", "--size", "1", "f", "--near=x", "--", "--json"});
  CHECK(all.node == &tree.put());
  CHECK(all.words == std::vector<std::string>{"f", "--json"});
  CHECK(all.unknown_options.empty());
  CHECK(walk(tree.root, {"put", "--sise=1"}).unknown_options == std::vector<std::string>{"--sise"});
  CHECK(walk(tree.root, {"putt", "--size"}).unknown_command == "putt");
  CHECK(walk(tree.root, {"put", "--size"}).needs_value->name == "--size");
  CHECK(walk(tree.root, {"put", "-"}).words == std::vector<std::string>{"-"});
}

}  // namespace
}  // namespace strata::inline v0_1::tools
