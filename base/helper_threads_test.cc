#include "base/helper_threads.h"

#include <atomic>
#include <barrier>

#include "tests/catch.h"
#include "tests/child.h"
#include "tests/no_more_processes.h"
#include "tests/skip.h"

using namespace strata;

TEST_CASE("work_runs_on_as_many_threads_as_were_asked_for") {
  std::barrier<> all(3);
  std::atomic<int> runs{0};
  run_on_threads(3, [&] {
    all.arrive_and_wait();  // would wait without end if there were fewer
    ++runs;
  });
  CHECK(runs == 3);
}

TEST_CASE("where_there_can_be_no_more_threads_the_caller_does_the_work_alone") {
  const int status = test::in_child([] {
    if (!test::forbid_processes()) return 100;
    int runs = 0;
    run_on_threads(8, [&] { ++runs; });
    HelperThreads helpers;
    const bool is_started = helpers.start([] {});
    return runs == 1 && !is_started && helpers.empty() ? 0 : 1;
  });
  if (WEXITSTATUS(status) == 100) SKIP_TEST("the kernel takes no seccomp filter");
  CHECK(status == 0);
}
