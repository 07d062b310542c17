#include "os/run_apart.h"

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <new>
#include <thread>

#include "strata/os/fd.h"
#include "tests/catch.h"
#include "tests/child.h"
#include "tests/no_more_processes.h"
#include "tests/skip.h"

using namespace strata;

namespace {

Deadline in_a_minute() { return Deadline::after_ms(60'000); }

Code code_of(const std::function<std::string()>& body, Deadline deadline = in_a_minute(),
             std::uint64_t processor_s = kNoProcessorLimit) {
  const auto answer = run_apart(body, deadline, processor_s);
  REQUIRE(!answer);
  return answer.error().code();
}

[[noreturn]] std::string spin() {
  std::atomic<std::uint64_t> turns{0};
  while (true)
    ++turns;
}

[[noreturn]] std::string die_of(int signal) {
  ::raise(signal);
  ::_exit(9);
}

int fill_the_stack(std::uint64_t depth) {
  volatile char here[4096];
  here[0] = 1;
  return depth == 0 ? here[0] : fill_the_stack(depth - 1) + here[0];
}

bool has_no_child() { return ::waitpid(-1, nullptr, WNOHANG) < 0 && errno == ECHILD; }

std::string ending_of(const std::function<std::string()>& body) {
  const auto answer = run_apart(body, in_a_minute());
  return answer ? "answers " + *answer : std::string(code_name(answer.error().code()));
}

// What is not as it has to be, also where nobody can have a wait status.
std::string wrong_endings() {
  std::string wrong;
  const auto expect = [&](const std::string& ending, const std::string& is) {
    if (is != ending) wrong += ending + " expected, is " + is + "; ";
  };
  expect("answers ", ending_of([] { return std::string(); }));
  expect("answers yes", ending_of([] { return std::string("yes"); }));
  for (const int signal : {SIGABRT, SIGBUS, SIGFPE, SIGILL, SIGSEGV})
    expect("corrupt", ending_of([&] { return die_of(signal); }));
  expect("failed_precondition", ending_of([] { return die_of(SIGKILL); }));
  expect("failed_precondition", ending_of([] { return die_of(SIGQUIT); }));
  expect("failed_precondition", ending_of([]() -> std::string { ::_exit(0); }));
  if (!has_no_child()) wrong += "a child is left";
  return wrong;
}

bool has_wrong_endings() {
  const std::string wrong = wrong_endings();
  std::fprintf(stderr, "%s\n", wrong.c_str());
  return !wrong.empty();
}

}  // namespace

TEST_CASE("each_ending_of_the_child_has_its_code_and_leaves_no_zombie") {
  CHECK(wrong_endings().empty());
}

TEST_CASE("the_endings_are_the_same_where_sigchld_is_ignored") {
  const int status = test::in_child([] {
    std::signal(SIGCHLD, SIG_IGN);
    return has_wrong_endings() ? 1 : 0;
  });
  CHECK(status == 0);
}

TEST_CASE("the_endings_are_the_same_where_the_program_reaps_every_child") {
  const int status = test::in_child([] {
    std::signal(SIGCHLD, [](int) {
      const int error = errno;
      while (::waitpid(-1, nullptr, WNOHANG) > 0) {
      }
      errno = error;
    });
    return has_wrong_endings() ? 1 : 0;
  });
  CHECK(status == 0);
}

TEST_CASE("a_long_answer_arrives_whole_and_one_that_is_too_long_is_an_error") {
  const std::string answer =
      run_apart([] { return std::string(10'000'000, 'x') + "end"; }, in_a_minute()).value();
  CHECK(answer.size() == 10'000'003);
  CHECK(answer.ends_with("xend"));
  CHECK(code_of([] { return std::string((64 << 20) + 1, 'x'); }) == Code::exhausted);
}

TEST_CASE("a_real_fault_is_a_crash_also_with_blocked_signals_and_without_a_stack") {
  CHECK(code_of([]() -> std::string {
          *reinterpret_cast<volatile int*>(8) = 1;
          return "no";
        }) == Code::corrupt);
  CHECK(code_of([] { return std::to_string(fill_the_stack(1 << 30)); }) == Code::corrupt);
  const int status = test::in_child([] {
    sigset_t all;
    ::sigfillset(&all);
    ::sigprocmask(SIG_SETMASK, &all, nullptr);
    std::signal(SIGSEGV, SIG_IGN);
    return code_of([] { return die_of(SIGSEGV); }) == Code::corrupt ? 0 : 1;
  });
  CHECK(status == 0);
}

TEST_CASE("a_crash_signal_that_somebody_sent_is_no_crash") {
  const auto killed_by_another = [] {
    const pid_t victim = ::getpid();
    if (::fork() == 0) {
      ::kill(victim, SIGSEGV);
      ::_exit(0);
    }
    return spin();
  };
  CHECK(code_of(killed_by_another) == Code::failed_precondition);
}

TEST_CASE("an_exception_in_the_child_is_no_crash") {
  CHECK(code_of([]() -> std::string { throw std::bad_alloc(); }) == Code::exhausted);
}

TEST_CASE("a_child_that_waits_is_ended_at_the_deadline_and_one_that_computes_by_its_limit") {
  const auto wait = []() -> std::string {
    while (true)
      ::pause();
  };
  CHECK(code_of(wait, Deadline::after_ms(10)) == Code::timed_out);
  CHECK(code_of(spin, Deadline::after_ms(600'000), 1) == Code::timed_out);
  CHECK(has_no_child());
}

TEST_CASE("a_child_dies_with_its_parent") {
  int alive[2];  // as long as the grandchild lives, its end of the pipe is open
  REQUIRE(::pipe2(alive, O_CLOEXEC) == 0);
  Fd reader(alive[0]), writer(alive[1]);
  const pid_t parent = test::start_child([&] {
    const auto body = [&]() -> std::string {
      if (::write(writer.get(), "s", 1) != 1) return {};
      return spin();
    };
    // From a thread that is not the first: its end, too, is only the program's.
    std::thread([&] { (void)run_apart(body, Deadline::after_ms(600'000)); }).join();
  });
  writer.reset();
  char started = 0;
  REQUIRE(::read(reader.get(), &started, 1) == 1);
  test::kill_child(parent);
  CHECK(::read(reader.get(), &started, 1) == 0);
}

TEST_CASE("where_there_can_be_no_more_processes_the_error_names_the_limit") {
  const int status = test::in_child([] {
    if (!test::forbid_processes()) return 2;
    const auto answer = run_apart([] { return std::string(); }, in_a_minute());
    if (answer || answer.error().code() != Code::exhausted) return 3;
    return answer.error().message().find("ulimit -u") != std::string::npos ? 0 : 4;
  });
  if (WEXITSTATUS(status) == 2) SKIP_TEST("the kernel takes no seccomp filter");
  CHECK(status == 0);
}
