// Programs that go on without whoever started them.

#include "os/detached_process.h"

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include "os/os.h"
#include "tests/catch.h"
#include "tests/child.h"

using namespace strata;
using Catch::Matchers::Contains;

namespace {

Deadline in_two_minutes() { return Deadline::after_ms(120'000); }

Result<std::string> shell(const std::string& script, Deadline deadline = in_two_minutes()) {
  return start_detached({"sh", "-c", script}, deadline);
}

// The line of a field of /proc/PID/status.
std::string status_of(Os& os, const std::string& pid, const std::string& field) {
  const std::string status = os.read_file("/proc/" + pid + "/status").value();
  const std::size_t at = status.find(field + ":");
  return status.substr(at, status.find('\n', at) - at);
}

}  // namespace

TEST_CASE("a_detached_program_is_ready_with_its_first_line") {
  CHECK(shell("echo holding it; exec sleep 0").value() == "holding it");
}

TEST_CASE("a_detached_program_has_a_session_and_no_descriptor_of_ours") {
  RealOs os;
  const Fd ours(::open("/dev/null", O_RDONLY));  // without close-on-exec
  const std::string line =
      shell("echo $$ $(ls /proc/$$/fd | tr '\\n' ' '); exec sleep 300").value();
  const std::string pid = line.substr(0, line.find(' '));
  INFO(line);
  CHECK(getsid(std::stoi(pid)) != getsid(0));
  CHECK(getsid(std::stoi(pid)) != std::stoi(pid));
  const auto open = os.list_directory("/proc/" + pid + "/fd").value();
  CHECK(open == std::vector<std::string>{"0", "1", "2"});
  CHECK_THAT(status_of(os, pid, "SigBlk"), Contains("0000000000000000"));
  CHECK(::kill(std::stoi(pid), SIGHUP) == 0);
  CHECK(::kill(std::stoi(pid), 0) == 0);
  CHECK(::kill(std::stoi(pid), SIGKILL) == 0);
}

TEST_CASE("a_detached_program_goes_on_when_whoever_started_it_is_killed") {
  int ends[2];
  REQUIRE(pipe(ends) == 0);
  const pid_t starter = test::start_child([&] {
    const std::string line = shell("echo $$; exec sleep 300").value() + "\n";
    (void)!::write(ends[1], line.data(), line.size());
    pause();
  });
  char text[32] = {};
  REQUIRE(::read(ends[0], text, sizeof text - 1) > 0);
  test::kill_child(starter);
  const int program = std::stoi(text);
  CHECK(::kill(program, 0) == 0);
  CHECK(::kill(program, SIGKILL) == 0);
  ::close(ends[0]);
  ::close(ends[1]);
}

TEST_CASE("why_a_detached_program_failed_is_told_in_its_own_words") {
  const auto failed = shell("echo cannot hold it >&2; exit 1");
  REQUIRE(!failed);
  CHECK(failed.error().code() == Code::failed_precondition);
  CHECK_THAT(failed.error().message(), Contains("cannot hold it"));
  const auto missing = start_detached({"no-such-program-anywhere"}, in_two_minutes());
  REQUIRE(!missing);
  CHECK_THAT(missing.error().message(), Contains("no such program"));
  CHECK(start_detached({}, in_two_minutes()).error().code() == Code::invalid_argument);
}

TEST_CASE("a_detached_program_that_comes_too_late_ends") {
  const auto late = shell("sleep 1; echo late; sleep 300", Deadline::after_ms(50));
  REQUIRE(!late);
  CHECK(late.error().code() == Code::timed_out);
}

TEST_CASE("a_program_that_ignores_its_children_can_start_detached_ones") {
  CHECK(test::child_says([] {
    (void)::signal(SIGCHLD, SIG_IGN);
    return shell("echo ready").value() == "ready";
  }));
}
