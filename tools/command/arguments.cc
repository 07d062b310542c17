#include "tools/command/arguments.h"

#include <CLI/CLI.hpp>

#include "strata/base/bytes.h"

namespace strata::inline v0_1::tools {
namespace {

CLI::Option* add_size(CLI::App& app, const std::string& name, std::uint64_t& bytes,
                      const std::string& help) {
  const auto read = [&bytes, name](const std::string& text) {
    const Result<std::uint64_t> parsed = parse_bytes(text);
    if (!parsed) throw CLI::ValidationError(name, parsed.error().message());
    bytes = *parsed;
  };
  return app.add_option_function<std::string>(name, read, help)->type_name("SIZE");
}

template <typename T>
CLI::Option* add_option(CLI::App& app, const std::string& name, T& value, const std::string& help,
                        const std::string& type) {
  CLI::Option* const option = app.add_option(name, value, help);
  return type.empty() ? option : option->type_name(type);
}

}  // namespace

template <typename T>
Arguments& Arguments::word(const std::string& name, T& value, const std::string& help) {
  app_.add_option(name, value, help)->required()->type_name("");
  return *this;
}
template Arguments& Arguments::word(const std::string&, std::string&, const std::string&);
template Arguments& Arguments::word(const std::string&, std::vector<std::string>&,
                                    const std::string&);

Arguments& Arguments::optional_word(const std::string& name, std::string& value,
                                    const std::string& help) {
  app_.add_option(name, value, help)->type_name("");
  return *this;
}

Arguments& Arguments::flag(const std::string& name, bool& value, const std::string& help) {
  app_.add_flag(name, value, help);
  return *this;
}

template <typename T>
Arguments& Arguments::option(const std::string& name, T& value, const std::string& help,
                             const std::string& type) {
  add_option(app_, name, value, help, type);
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
  add_option(app_, name, value, help, type)->capture_default_str();
  return *this;
}
template Arguments& Arguments::option_with_default(const std::string&, std::string&,
                                                   const std::string&, const std::string&);
template Arguments& Arguments::option_with_default(const std::string&, std::uint64_t&,
                                                   const std::string&, const std::string&);

Arguments& Arguments::seconds(const std::string& name, double& value, double least, double most,
                              const std::string& help) {
  add_option(app_, name, value, help, "")
      ->check(CLI::Range(least, most))
      ->capture_default_str()
      ->type_name("S");
  return *this;
}

Arguments& Arguments::size(const std::string& name, std::uint64_t& bytes, const std::string& help) {
  add_size(app_, name, bytes, help);
  return *this;
}

Arguments& Arguments::required_size(const std::string& name, std::uint64_t& bytes,
                                    const std::string& help) {
  add_size(app_, name, bytes, help)->required();
  return *this;
}

template <typename T>
Arguments& Arguments::list(const std::string& name, std::vector<T>& values, const std::string& help,
                           const std::string& type) {
  app_.add_option(name, values, help)->delimiter(',')->type_name(type);
  return *this;
}
template Arguments& Arguments::list(const std::string&, std::vector<int>&, const std::string&,
                                    const std::string&);
template Arguments& Arguments::list(const std::string&, std::vector<std::string>&,
                                    const std::string&, const std::string&);

Arguments& Arguments::repeated(const std::string& name, std::vector<std::string>& values,
                               const std::string& help, const std::string& type) {
  app_.add_option(name, values, help)->allow_extra_args(false)->type_name(type);
  return *this;
}

Arguments& Arguments::choice(const std::string& name, std::string& value,
                             const std::vector<std::string>& choices, const std::string& help) {
  CLI::Option* const option = app_.add_option(name, value, help)->check(CLI::IsMember(choices));
  if (!value.empty()) option->capture_default_str();
  return *this;
}

Arguments Arguments::alternatives(const std::string& title) {
  CLI::Option_group* const group = app_.add_option_group(title, "at most one of these");
  group->require_option(0, 1);
  return Arguments(*group);
}

}  // namespace strata::inline v0_1::tools
