#include "tools/command/suggest.h"

#include <algorithm>

namespace strata::inline v0_1::tools {
namespace {

constexpr std::size_t kMostSuggestions = 3;
// Longer ones are no slip of the fingers, and would cost their length times that of each name.
constexpr std::size_t kLongestTyped = 64;

// One slip in a short word, one in three letters of a longer one.
std::size_t tolerance(std::string_view typed) { return std::max<std::size_t>(1, typed.size() / 3); }

const CommandNode& root_of(const CommandNode& node) {
  return node.parent == nullptr ? node : root_of(*node.parent);
}

// Commands named `name` anywhere below, such as `pool backup` for "backup".
void find_below(const CommandNode& node, const std::string& name, std::vector<std::string>& found) {
  for (const auto& each : node.commands) {
    if (each->text.is_hidden) continue;
    const auto& others = each->text.other_names;
    if (each->text.name == name || std::find(others.begin(), others.end(), name) != others.end())
      found.push_back(each->path());
    find_below(*each, name, found);
  }
}

}  // namespace

std::size_t edit_distance(std::string_view a, std::string_view b) {
  // Three rows of the table of distances of all beginnings of `a` and `b`.
  std::vector<std::size_t> before_last(b.size() + 1);
  std::vector<std::size_t> last(b.size() + 1);
  std::vector<std::size_t> row(b.size() + 1);
  for (std::size_t j = 0; j <= b.size(); ++j)
    last[j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t replaced = last[j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1);
      row[j] = std::min({last[j] + 1, row[j - 1] + 1, replaced});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
        row[j] = std::min(row[j], before_last[j - 2] + 1);
    }
    std::swap(before_last, last);
    std::swap(last, row);
  }
  return last[b.size()];
}

std::vector<std::string> suggestions(std::string_view typed,
                                     const std::vector<std::string>& known) {
  std::vector<std::string> found;
  if (typed.empty() || typed.size() > kLongestTyped) return found;
  std::size_t least = tolerance(typed);
  for (const std::string& each : known) {
    const std::size_t distance = edit_distance(typed, each);
    // Two letters have nothing in common with any other two.
    if (distance > least || distance >= std::max(typed.size(), each.size())) continue;
    if (distance < least) found.clear();
    least = distance;
    found.push_back(each);
  }
  if (found.empty()) {
    std::copy_if(known.begin(), known.end(), std::back_inserter(found),
                 [&](const std::string& each) { return each.starts_with(typed); });
  }
  if (found.size() > kMostSuggestions) found.resize(kMostSuggestions);
  return found;
}

std::string did_you_mean(const std::vector<std::string>& suggestions) {
  if (suggestions.empty()) return {};
  std::string text = ": did you mean ";
  for (std::size_t i = 0; i < suggestions.size(); ++i) {
    if (i > 0) text += i + 1 == suggestions.size() ? " or " : ", ";
    text += "`" + suggestions[i] + "`";
  }
  return text + "?";
}

std::vector<std::string> suggest_command(const CommandNode& group, const std::string& typed) {
  std::vector<std::string> names;
  for (const auto& each : group.commands) {
    if (each->text.is_hidden) continue;
    const auto& others = each->text.other_names;
    if (std::find(others.begin(), others.end(), typed) != others.end()) return {each->text.name};
    names.push_back(each->text.name);
  }
  std::vector<std::string> found;
  find_below(root_of(group), typed, found);
  if (found.empty()) found = suggestions(typed, names);
  if (found.size() > kMostSuggestions) found.resize(kMostSuggestions);
  return found;
}

std::vector<std::string> suggest_option(const CommandNode& command, const std::string& typed) {
  // The dashes would make every two options alike.
  std::vector<std::string> names;
  for (const Parameter& each : command.parameters)
    if (!each.is_word) names.push_back(each.name.substr(2));
  const std::size_t begin = std::min(typed.find_first_not_of('-'), typed.size());
  std::vector<std::string> found = suggestions(std::string_view(typed).substr(begin), names);
  for (std::string& name : found)
    name.insert(0, "--");
  return found;
}

}  // namespace strata::inline v0_1::tools
