// Asks the CUDA driver of this machine the rows of conformance.md.
//
// usage: conformance [--library FILE] [--devices DIRECTORY] [--json] [--list]
//
//   --library   libcuda.so.1, as the loader finds it
//   --devices   where the device files are (/dev)
//   --json      for tests/gpu/golden: no host name, UUID or serial number is in it
//   --list      the rows and where they run, without a driver
//
// Ends with 0 where every answer is as the document says, 1 where some are not, 2 without a driver.
#include <cstdio>
#include <cstring>
#include <nlohmann/json.hpp>

#include "tests/gpu/conformance/runner.h"

namespace strata::inline v0_1::conformance {
namespace {

const char* text_of(Where where) {
  switch (where) {
    case Where::fake_and_gpu: return "fake, GPU";
    case Where::gpu: return "GPU";
    case Where::fake_and_special: return "fake, special";
    case Where::special: return "special";
    case Where::never: return "never";
  }
  return "";
}

const char* text_of(Evidence evidence) {
  switch (evidence) {
    case Evidence::documented: return "documented";
    case Evidence::observed: return "observed";
    case Evidence::source: return "read in the driver's source";
    case Evidence::measured: return "measured";
    case Evidence::unverified: return "unverified";
  }
  return "";
}

bool runs_on(Where where, bool is_fake) {
  if (where == Where::fake_and_gpu) return true;
  return is_fake ? where == Where::fake_and_special : where == Where::gpu;
}

// Each of several codes must be one of those that the document has.
bool is_expected(const Row& row, const std::string& text) {
  const auto is_one = [&](const std::string& part) {
    for (const std::string& expected : row.expected)
      if (part == expected) return true;
    return false;
  };
  if (is_one(text)) return true;
  for (std::size_t begin = 0; begin <= text.size();) {
    const std::size_t end = std::min(text.find(' ', begin), text.size());
    if (!is_one(text.substr(begin, end - begin))) return false;
    begin = end + 1;
  }
  return true;
}

std::string joined(const std::vector<std::string>& parts) {
  std::string text;
  for (const std::string& part : parts)
    text += (text.empty() ? "" : " or ") + part;
  return text;
}

nlohmann::json describe(const Row& row) {
  return {{"row", row.number},
          {"what", row.what},
          {"expected", row.expected},
          {"evidence", text_of(row.evidence)},
          {"where", text_of(row.where)}};
}

struct Options {
  Place place{"libcuda.so.1", "/dev"};
  bool wants_json = false;
  bool wants_list = false;
};

bool parse(int count, char** words, Options* options) {
  for (int i = 1; i < count; ++i) {
    const std::string word = words[i];
    if (word == "--json") {
      options->wants_json = true;
    } else if (word == "--list") {
      options->wants_list = true;
    } else if (word == "--library" && i + 1 < count) {
      options->place.library = words[++i];
    } else if (word == "--devices" && i + 1 < count) {
      options->place.device_directory = words[++i];
    } else {
      return false;
    }
  }
  return true;
}

// "as expected", "differs" or "not asked".
std::string judge(const Row& row, const Answer& answer) {
  if (!answer.was_asked) return "not asked";
  return is_expected(row, answer.text) ? "as expected" : "differs";
}

void print_table(const std::vector<Row>& rows, const std::map<int, Answer>& answers,
                 const DriverFacts& facts, bool is_fake) {
  std::printf("%s, CUDA %d.%d, compute capability %d.%d\n", facts.device.c_str(),
              facts.version / 1000, facts.version % 1000 / 10, facts.compute_major,
              facts.compute_minor);
  if (is_fake) std::printf("FAKE: this is no GPU, and what it answers proves nothing about one.\n");
  for (const Row& row : rows) {
    const Answer& answer = answers.at(row.number);
    const bool is_guess = is_fake && row.evidence == Evidence::unverified && answer.was_asked;
    std::printf(
        "%4d  %-11s  %-58s  %s%s%s%s\n", row.number, judge(row, answer).c_str(), row.what.c_str(),
        answer.text.c_str(), row.expected.empty() || !answer.was_asked ? "" : "  expected: ",
        answer.was_asked ? joined(row.expected).c_str() : "", is_guess ? "  (unverified)" : "");
  }
}

int run(const Options& options) {
  const std::vector<Row> rows = all_rows();
  if (options.wants_list) {
    nlohmann::json list = nlohmann::json::array();
    for (const Row& row : rows)
      list.push_back(describe(row));
    std::printf("%s\n", list.dump(1).c_str());
    return 0;
  }
  const DriverFacts facts = read_facts(options.place);
  if (!facts.trouble.empty()) {
    std::fprintf(stderr, "conformance: %s\n", facts.trouble.c_str());
    return 2;
  }
  const bool is_fake = facts.device.find("FAKE") != std::string::npos;
  std::vector<Row> asked = rows;
  for (Row& row : asked) {
    if (row.why_not.empty() && !runs_on(row.where, is_fake)) {
      row.why_not = is_fake ? "the fake has nothing of it" : "needs a special machine";
    }
  }
  const std::map<int, Answer> answers = ask_all(asked, options.place);
  bool is_all_expected = true;
  nlohmann::json results = nlohmann::json::array();
  for (const Row& row : rows) {
    const Answer& answer = answers.at(row.number);
    const std::string verdict = judge(row, answer);
    is_all_expected = is_all_expected && verdict != "differs";
    nlohmann::json result = describe(row);
    result["answer"] = answer.text;
    result["verdict"] = verdict;
    results.push_back(result);
  }
  if (options.wants_json) {
    const nlohmann::json all = {{"is_fake", is_fake},
                                {"device", facts.device},
                                {"driver_version", facts.version},
                                {"compute_capability", {facts.compute_major, facts.compute_minor}},
                                {"rows", results}};
    std::printf("%s\n", all.dump(1).c_str());
  } else {
    print_table(rows, answers, facts, is_fake);
  }
  return is_all_expected ? 0 : 1;
}

}  // namespace
}  // namespace strata::inline v0_1::conformance

int main(int count, char** words) {
  strata::conformance::Options options;
  if (!strata::conformance::parse(count, words, &options)) {
    std::fprintf(stderr,
                 "usage: conformance [--library FILE] [--devices DIRECTORY] [--json] [--list]\n");
    return 2;
  }
  return strata::conformance::run(options);
}
