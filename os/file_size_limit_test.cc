#include "os/file_size_limit.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/time.h>

#include <array>
#include <csignal>
#include <vector>

#include "os/os.h"
#include "tests/catch.h"
#include "tests/child.h"

using namespace strata;

namespace {

constexpr std::size_t kLimit = std::size_t{1} << 20;

bool set_limit() {
  const rlimit limit{kLimit, kLimit};
  return ::setrlimit(RLIMIT_FSIZE, &limit) == 0;
}

template <typename T>
bool names_the_limit(const Result<T>& outcome) {
  return !outcome && outcome.error().code() == Code::exhausted &&
         outcome.error().message().find("(ulimit -f) is 1 MiB") != std::string::npos;
}

bool is_blocked(int signal) {
  sigset_t mask;
  ::pthread_sigmask(SIG_SETMASK, nullptr, &mask);
  return ::sigismember(&mask, signal) == 1;
}

bool is_pending(int signal) {
  sigset_t pending;
  ::sigpending(&pending);
  return ::sigismember(&pending, signal) == 1;
}

volatile sig_atomic_t handled = 0;

}  // namespace

TEST_CASE("calls_that_make_a_file_too_long_fail_and_name_the_limit") {
  CHECK(test::child_says([] {
    RealOs os;
    const Fd fd = os.memfd_create("limited", 0).value();
    const std::vector<std::byte> bytes(2 * kLimit);
    return set_limit() && names_the_limit(os.ftruncate(fd.get(), 2 * kLimit)) &&
           names_the_limit(os.fallocate(fd.get(), 0, 0, 2 * kLimit)) &&
           names_the_limit(os.pwrite(fd.get(), bytes, 0)) && os.ftruncate(fd.get(), kLimit);
  }));
}

TEST_CASE("the_programs_own_handler_and_mask_stay_as_they_were") {
  CHECK(test::child_says([] {
    std::signal(SIGXFSZ, [](int) { handled = 1; });
    RealOs os;
    const Fd fd = os.memfd_create("limited", 0).value();
    if (!set_limit() || os.ftruncate(fd.get(), 2 * kLimit)) return false;
    if (handled != 0 || is_blocked(SIGXFSZ) || is_pending(SIGXFSZ)) return false;
    ::raise(SIGXFSZ);
    return handled == 1;
  }));
}

TEST_CASE("a_signal_that_the_program_has_blocked_and_pending_is_left_to_it") {
  CHECK(test::child_says([] {
    sigset_t set;
    ::sigemptyset(&set);
    ::sigaddset(&set, SIGXFSZ);
    ::pthread_sigmask(SIG_BLOCK, &set, nullptr);
    ::raise(SIGXFSZ);
    RealOs os;
    const Fd fd = os.memfd_create("limited", 0).value();
    return set_limit() && !os.ftruncate(fd.get(), 2 * kLimit) && is_blocked(SIGXFSZ) &&
           is_pending(SIGXFSZ);
  }));
}

TEST_CASE("without_a_limit_or_for_another_error_there_is_no_hint") {
  CHECK(file_size_limit_hint(ENOSPC).empty());
  CHECK(test::child_says([] { return set_limit() && file_size_limit_hint(ENOSPC).empty(); }));
}
