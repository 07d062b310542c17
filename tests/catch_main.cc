// The main() of every Catch2 test. It leaves, beside the report for people, the JUnit file that
// Bazel asks for in $XML_OUTPUT_FILE, with one entry per case: ./check counts those.
#if !__has_include(<catch2/catch_all.hpp>)
#define CATCH_CONFIG_RUNNER
#endif

#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <string>
#include <vector>

#include "tests/catch.h"
#include "tests/skip.h"

// Catch2 3 writes that file itself where BAZEL_TEST is set, and has its own SKIP.
#if !__has_include(<catch2/catch_all.hpp>)
namespace strata::inline v0_1::test {
namespace {

struct CaseRecord {
  std::string name;
  double elapsed_s;
  bool failed;
  std::string skip_reason;  // empty: not skipped
};

std::string current_skip_reason;

std::string xml_escaped(const std::string& text) {
  std::string escaped;
  for (char c : text) {
    switch (c) {
      case '&': escaped += "&amp;"; break;
      case '<': escaped += "&lt;"; break;
      case '"': escaped += "&quot;"; break;
      default: escaped += static_cast<unsigned char>(c) < 0x20 ? ' ' : c;
    }
  }
  return escaped;
}

class JUnitListener : public Catch::TestEventListenerBase {
 public:
  using TestEventListenerBase::TestEventListenerBase;

  void testCaseStarting(const Catch::TestCaseInfo& info) override {
    TestEventListenerBase::testCaseStarting(info);
    current_skip_reason.clear();
    name_ = info.name;
    timer_.start();
  }

  void testCaseEnded(const Catch::TestCaseStats& stats) override {
    const bool failed = stats.totals.testCases.failed > 0;
    records_.push_back({name_, timer_.getElapsedSeconds(), failed, current_skip_reason});
    if (!failed && !current_skip_reason.empty()) {
      std::printf("SKIPPED %s: %s\n", name_.c_str(), current_skip_reason.c_str());
    }
    TestEventListenerBase::testCaseEnded(stats);
  }

  void testRunEnded(const Catch::TestRunStats& stats) override {
    TestEventListenerBase::testRunEnded(stats);
    const char* path = std::getenv("XML_OUTPUT_FILE");
    // A forked child that ran on to here must not overwrite its parent's file.
    if (path != nullptr && getpid() == started_by_) write(path);
  }

 private:
  void write(const char* path) const {
    std::ofstream out(path);
    out << "<testsuites>\n<testsuite name=\"catch2\" tests=\"" << records_.size() << "\">\n";
    for (const CaseRecord& record : records_) {
      out << "<testcase name=\"" << xml_escaped(record.name) << "\" time=\"" << record.elapsed_s
          << "\">";
      if (record.failed) {
        out << "<failure message=\"see the test log\"/>";
      } else if (!record.skip_reason.empty()) {
        out << "<skipped message=\"" << xml_escaped(record.skip_reason) << "\"/>";
      }
      out << "</testcase>\n";
    }
    out << "</testsuite>\n</testsuites>\n";
  }

  const pid_t started_by_ = getpid();
  Catch::Timer timer_;
  std::string name_;
  std::vector<CaseRecord> records_;
};

CATCH_REGISTER_LISTENER(JUnitListener)

}  // namespace

void mark_skipped(const std::string& why) { current_skip_reason = why; }

}  // namespace strata::inline v0_1::test
#endif

int main(int argc, char** argv) {
  const pid_t started_by = getpid();
  const int result = Catch::Session().run(argc, argv);
  // An assertion that failed in a forked child unwinds to here: never let the child pass for the
  // test itself.
  if (getpid() != started_by) _exit(99);
  return result;
}
