#include <fmt/format.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>

#include "base/printable.h"
#include "tools/command/completion.h"
#include "tools/command/help_commands.h"

namespace strata::inline v0_1::tools {
namespace {

// Whoever presses TAB waits: what takes longer is left out.
constexpr unsigned kPatience_s = 2;
constexpr std::size_t kMostSegments = 1000;
constexpr std::string_view kSchemes[] = {"shm", "cuda", "pmem"};

[[noreturn]] void end_quietly(int) { _exit(0); }

// What the script asked.
struct Question {
  std::vector<std::string> words;  // after the program's name; the last is being typed
  std::size_t kept_bytes = 0;      // of each candidate, which the shell does not replace
  bool escapes = false;            // the shell takes a candidate as it is
};

// "--word-breaks BREAKS --line LINE" of bash, or "-- WORD...".
Question read_question(const std::vector<std::string>& arguments) {
  Question question;
  std::string word_breaks;
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    if (arguments[i] == "--") {
      question.words.assign(arguments.begin() + static_cast<std::ptrdiff_t>(i) + 1,
                            arguments.end());
      break;
    }
    if (i + 1 == arguments.size()) break;
    const std::string& value = arguments[++i];
    if (arguments[i - 1] == "--word-breaks") word_breaks = value;
    if (arguments[i - 1] != "--line") continue;
    ShellLine line = split_shell_line(value);
    line.words.erase(line.words.begin());
    question.words = std::move(line.words);
    question.escapes = !line.is_quoted;
    if (question.escapes && !question.words.empty())
      question.kept_bytes = kept_by_bash(question.words.back(), word_breaks);
  }
  return question;
}

std::string escaped(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (std::string_view(" \t\"'\\$`&|;<>()*?[]!{}").find(c) != std::string_view::npos) out += '\\';
    out += c;
  }
  return out;
}

class Answer {
 public:
  explicit Answer(const Question& question) : question_(question) {}

  // A name that would steer the terminal is not offered.
  void add(const std::string& text, const std::string& help) {
    if (text.size() < question_.kept_bytes || printable(text) != text) return;
    std::string shown = text.substr(question_.kept_bytes);
    if (question_.escapes) shown = escaped(shown);
    std::fputs((shown + (help.empty() ? "" : "\t" + help) + "\n").c_str(), stdout);
  }
  void wants_files() { std::fputs(":files\n", stdout); }

 private:
  const Question& question_;
};

void add_segments(Catalog& catalog, const Completion& completion, std::string_view scheme,
                  Answer& answer) {
  const std::string& typed = completion.typed;
  const std::size_t hash = typed.find('#');
  ListOptions where{.scheme = std::string(scheme)};
  // A pool that is named is looked into, whoever used it before.
  if (scheme == "pmem" && hash != std::string::npos)
    where.container = typed.substr(scheme.size() + 1, hash - scheme.size() - 1);
  std::size_t left = kMostSegments;
  for (const SegmentStat& stat : catalog.list(where).segments) {
    const std::string text =
        where.container.empty() ? stat.uri.to_string() : typed.substr(0, hash + 1) + stat.uri.name;
    if (!text.starts_with(typed)) continue;
    answer.add(completion.before + text, "");
    if (--left == 0) return;
  }
}

void add_segments(Context& context, const Completion& completion, Answer& answer) {
  const std::string& typed = completion.typed;
  const bool has_scheme = typed.find(':') != std::string::npos;
  for (const std::string_view scheme : kSchemes) {
    const std::string prefix = std::string(scheme) + ":";
    if (!has_scheme && prefix.starts_with(typed)) answer.add(completion.before + prefix, "");
    if (has_scheme ? !typed.starts_with(prefix) : !prefix.starts_with(typed)) continue;
    // So that a place that does not answer keeps back nothing of the others.
    std::fflush(stdout);
    add_segments(context.catalog(), completion, scheme, answer);
  }
}

}  // namespace

ExitCode answer_completion(Context& context, const CommandNode& root,
                           const std::vector<std::string>& arguments) {
  std::signal(SIGALRM, end_quietly);
  alarm(kPatience_s);
  const Question question = read_question(arguments);
  const Completion completion = complete(root, question.words);
  Answer answer(question);
  for (const Candidate& each : completion.candidates)
    answer.add(each.text, each.help);
  if (completion.wants == Completion::Wants::files) answer.wants_files();
  if (completion.wants == Completion::Wants::segments) add_segments(context, completion, answer);
  return ExitCode::done;
}

void add_completion(Commands& commands) {
  const auto shell = std::make_shared<std::string>();
  commands
      .add({.name = "completion",
            .summary = "print a script that completes words in bash, zsh or fish",
            .description =
                "It completes commands, options, their values, the names of files, and the names "
                "of the segments that there are.",
            .examples = "source <(strata completion bash)    # in ~/.bashrc\n"
                        "source <(strata completion zsh)    # in ~/.zshrc, after compinit\n"
                        "strata completion fish > ~/.config/fish/completions/strata.fish"},
           [shell](Context& context) -> Result<ExitCode> {
             const std::string script(completion_script(*shell));
             context.output().picture(script);
             context.output().json({{"shell", *shell}, {"script", script}});
             return ExitCode::done;
           })
      .chosen_word("SHELL", *shell, {"bash", "zsh", "fish"}, "the shell");
}

}  // namespace strata::inline v0_1::tools
