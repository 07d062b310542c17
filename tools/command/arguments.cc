#include "tools/command/arguments.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <charconv>
#include <limits>
#include <type_traits>

#include "strata/base/bytes.h"

namespace strata::inline v0_1::tools {
namespace {

[[noreturn]] void refuse(const std::string& name, const std::string& why) {
  throw CLI::ValidationError(name, why);
}

// CLI11's own conversions say what type they wanted, and not what is wrong.
void read_value(const std::string&, const std::string& text, std::string& value) { value = text; }

template <typename T>
requires std::is_integral_v<T>
void read_value(const std::string& name, const std::string& text, T& value) {
  const char* const end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, value);
  if (error == std::errc::result_out_of_range)
    refuse(name, fmt::format("'{}' is more than {}", text, std::numeric_limits<T>::max()));
  if (error != std::errc() || stop != end)
    refuse(name, fmt::format("'{}' is not a whole number{}", text,
                             std::is_unsigned_v<T> ? " from 0 up" : ""));
}

CLI::Option* add_size(CLI::App& app, const std::string& name, std::uint64_t& bytes) {
  const auto read = [&bytes, name](const std::string& text) {
    const Result<std::uint64_t> parsed = parse_bytes(text);
    if (!parsed) refuse(name, parsed.error().message());
    bytes = *parsed;
  };
  return app.add_option_function<std::string>(name, read);
}

template <typename T>
CLI::Option* add_option(CLI::App& app, const std::string& name, T& value) {
  return app.add_option_function<std::string>(
      name, [&value, name](const std::string& text) { read_value(name, text, value); });
}

void check_choice(const std::string& name, const std::vector<std::string>& choices,
                  const std::string& text) {
  if (std::find(choices.begin(), choices.end(), text) == choices.end())
    refuse(name, fmt::format("'{}' is none of {}", text, fmt::join(choices, ", ")));
}

CLI::Option* add_choice(CLI::App& app, const std::string& name, std::string& value,
                        const std::vector<std::string>& choices) {
  return app.add_option_function<std::string>(name,
                                              [&value, name, choices](const std::string& text) {
                                                check_choice(name, choices, text);
                                                value = text;
                                              });
}

}  // namespace

Parameter& Arguments::describe(const std::string& name, const std::string& help) {
  Parameter& parameter = node_.parameters.emplace_back();
  parameter.name = name;
  parameter.help = help;
  parameter.alternative_of = alternative_of_;
  parameter.is_word = !name.starts_with('-');
  return parameter;
}

template <typename T>
Arguments& Arguments::word(const std::string& name, T& value, const std::string& help) {
  app_.add_option(name, value)->required();
  Parameter& parameter = describe(name, help);
  parameter.is_required = true;
  parameter.is_repeated = !std::is_same_v<T, std::string>;
  return *this;
}
template Arguments& Arguments::word(const std::string&, std::string&, const std::string&);
template Arguments& Arguments::word(const std::string&, std::vector<std::string>&,
                                    const std::string&);

Arguments& Arguments::optional_word(const std::string& name, std::string& value,
                                    const std::string& help) {
  app_.add_option(name, value);
  describe(name, help);
  return *this;
}

Arguments& Arguments::optional_words(const std::string& name, std::vector<std::string>& values,
                                     const std::string& help) {
  app_.add_option(name, values);
  describe(name, help).is_repeated = true;
  return *this;
}

Arguments& Arguments::chosen_word(const std::string& name, std::string& value,
                                  const std::vector<std::string>& choices,
                                  const std::string& help) {
  add_choice(app_, name, value, choices)->required();
  Parameter& parameter = describe(name, help);
  parameter.is_required = true;
  parameter.choices = choices;
  return *this;
}

Arguments& Arguments::flag(const std::string& name, bool& value, const std::string& help) {
  app_.add_flag(name, value)->disable_flag_override();
  describe(name, help);
  return *this;
}

template <typename T>
Arguments& Arguments::option(const std::string& name, T& value, const std::string& help,
                             const std::string& type) {
  add_option(app_, name, value);
  describe(name, help).value = type;
  return *this;
}
template Arguments& Arguments::option(const std::string&, std::string&, const std::string&,
                                      const std::string&);
template Arguments& Arguments::option(const std::string&, int&, const std::string&,
                                      const std::string&);
template Arguments& Arguments::option(const std::string&, std::uint32_t&, const std::string&,
                                      const std::string&);
template Arguments& Arguments::option(const std::string&, std::uint64_t&, const std::string&,
                                      const std::string&);

template <typename T>
Arguments& Arguments::option_with_default(const std::string& name, T& value,
                                          const std::string& help, const std::string& type) {
  add_option(app_, name, value);
  Parameter& parameter = describe(name, help);
  parameter.value = type;
  parameter.shown_default = fmt::format("{}", value);
  return *this;
}
template Arguments& Arguments::option_with_default(const std::string&, std::string&,
                                                   const std::string&, const std::string&);
template Arguments& Arguments::option_with_default(const std::string&, std::uint64_t&,
                                                   const std::string&, const std::string&);

Arguments& Arguments::seconds(const std::string& name, double& value, double least, double most,
                              const std::string& help) {
  const auto read = [&value, name, least, most](const std::string& text) {
    double seconds = 0;
    const char* const end = text.data() + text.size();
    const auto [stop, error] = std::from_chars(text.data(), end, seconds);
    if (error != std::errc() || stop != end)
      refuse(name, fmt::format("'{}' is not a number", text));
    // Written so that what is no number at all is refused too.
    if (!(seconds >= least && seconds <= most))
      refuse(name, fmt::format("{} is not from {} to {} seconds", text, least, most));
    value = seconds;
  };
  app_.add_option_function<std::string>(name, read);
  Parameter& parameter = describe(name, help);
  parameter.value = "S";
  parameter.shown_default = fmt::format("{}", value);
  return *this;
}

Arguments& Arguments::size(const std::string& name, std::uint64_t& bytes, const std::string& help) {
  add_size(app_, name, bytes);
  describe(name, help).value = "SIZE";
  return *this;
}

Arguments& Arguments::required_size(const std::string& name, std::uint64_t& bytes,
                                    const std::string& help) {
  add_size(app_, name, bytes)->required();
  Parameter& parameter = describe(name, help);
  parameter.is_required = true;
  if (!parameter.is_word) parameter.value = "SIZE";
  return *this;
}

template <typename T>
Arguments& Arguments::list(const std::string& name, std::vector<T>& values, const std::string& help,
                           const std::string& type) {
  const auto read = [&values, name](const std::vector<std::string>& texts) {
    for (const std::string& text : texts)
      read_value(name, text, values.emplace_back());
  };
  // One argument alone, so that a word behind it is that of the command.
  app_.add_option_function<std::vector<std::string>>(name, read)
      ->delimiter(',')
      ->allow_extra_args(false);
  describe(name, help).value = type;
  return *this;
}
template Arguments& Arguments::list(const std::string&, std::vector<int>&, const std::string&,
                                    const std::string&);
template Arguments& Arguments::list(const std::string&, std::vector<std::string>&,
                                    const std::string&, const std::string&);

Arguments& Arguments::repeated(const std::string& name, std::vector<std::string>& values,
                               const std::string& help, const std::string& type) {
  app_.add_option(name, values)->allow_extra_args(false);
  Parameter& parameter = describe(name, help);
  parameter.value = type;
  parameter.is_repeated = true;
  return *this;
}

Arguments& Arguments::choice(const std::string& name, std::string& value,
                             const std::vector<std::string>& choices, const std::string& help) {
  add_choice(app_, name, value, choices);
  Parameter& parameter = describe(name, help);
  parameter.value = "WHICH";
  parameter.choices = choices;
  parameter.shown_default = value;
  return *this;
}

Arguments Arguments::alternatives(const std::string& title) {
  CLI::Option_group* const group = app_.add_option_group(title);
  group->require_option(0, 1);
  Arguments alternatives(*group, node_);
  alternatives.alternative_of_ = title;
  return alternatives;
}

}  // namespace strata::inline v0_1::tools
