#include <fcntl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <csignal>
#include <cstdlib>
#include <new>

#include "os/fault_os.h"
#include "os/staged_os.h"
#include "strata/base/bytes.h"
#include "strata/os/futex.h"
#include "tests/catch.h"
#include "tests/child.h"
#include "tests/skip.h"

using namespace strata;

namespace {

std::string scratch_file() { return std::string(std::getenv("TEST_TMPDIR")) + "/file"; }

}  // namespace

TEST_CASE("fault_os_fails_the_nth_call_and_no_other") {
  FaultOs os;
  os.fail_at(2, ENOSPC);
  const auto fd = os.memfd_create("x", 0);
  REQUIRE(fd);
  const auto failed = os.ftruncate(fd->get(), 4096);
  REQUIRE(!failed);
  CHECK(failed.error().code() == Code::exhausted);
  CHECK(failed.error().sys_errno() == ENOSPC);
  CHECK(os.ftruncate(fd->get(), 4096));
  CHECK(os.trace() == std::vector<std::string>{"memfd_create", "ftruncate", "ftruncate"});
}

TEST_CASE("fault_os_kills_at_the_nth_call_before_it_is_made") {
  const std::string path = scratch_file();
  const int status = test::in_child([&] {
    FaultOs os;
    os.kill_at(2);
    (void)os.open(path + "1", O_CREAT | O_RDWR, 0600);
    (void)os.open(path + "2", O_CREAT | O_RDWR, 0600);
  });
  REQUIRE(WIFSIGNALED(status));
  CHECK(WTERMSIG(status) == SIGKILL);
  RealOs os;
  CHECK(os.stat(path + "1"));
  CHECK(!os.stat(path + "2"));
  CHECK(os.unlink(path + "1"));
}

TEST_CASE("a_byte_lock_conflicts_between_open_files_and_dies_with_its_process") {
  RealOs os;
  const std::string path = scratch_file();
  const Fd mine = os.open(path, O_CREAT | O_RDWR, 0600).value();
  int ready[2];
  REQUIRE(pipe(ready) == 0);
  const pid_t child = fork();
  if (child == 0) {
    RealOs child_os;
    const Fd theirs = child_os.open(path, O_RDWR).value();
    const bool got = child_os.try_lock_byte(theirs.get(), 7, LockKind::exclusive).value();
    (void)!write(ready[1], got ? "y" : "n", 1);
    pause();
  }
  char answer = 0;
  REQUIRE(read(ready[0], &answer, 1) == 1);
  REQUIRE(answer == 'y');
  CHECK(os.is_range_locked(mine.get(), 0, 100, LockKind::exclusive).value());
  CHECK_FALSE(os.is_range_locked(mine.get(), 8, 100, LockKind::exclusive).value());
  CHECK_FALSE(os.try_lock_byte(mine.get(), 7, LockKind::shared).value());
  kill(child, SIGKILL);
  waitpid(child, nullptr, 0);
  CHECK_FALSE(os.is_range_locked(mine.get(), 0, 100, LockKind::exclusive).value());
  CHECK(os.try_lock_byte(mine.get(), 7, LockKind::shared).value());
  CHECK(os.unlink(path));
}

TEST_CASE("a_lock_on_a_whole_file_conflicts_between_open_files_and_needs_no_right_to_write") {
  RealOs os;
  const std::string path = scratch_file();
  const Fd first = os.open(path, O_CREAT | O_RDWR, 0600).value();
  const Fd second = os.open(path, O_RDONLY).value();
  CHECK(os.try_lock_file(first.get(), LockKind::shared).value());
  CHECK(os.try_lock_file(second.get(), LockKind::shared).value());
  CHECK_FALSE(os.try_lock_file(second.get(), LockKind::exclusive).value());
  REQUIRE(os.unlock_file(first.get()));
  CHECK(os.try_lock_file(second.get(), LockKind::exclusive).value());
  CHECK_FALSE(os.try_lock_file(first.get(), LockKind::shared).value());
  CHECK(os.unlink(path));
}

TEST_CASE("the_data_of_a_file_is_listed_and_its_holes_are_not") {
  RealOs os;
  const std::string path = scratch_file();
  const Fd file = os.open(path, O_CREAT | O_RDWR, 0600).value();
  REQUIRE(os.ftruncate(file.get(), MiB(64)));
  const std::byte byte{1};
  REQUIRE(os.pwrite(file.get(), std::span(&byte, 1), MiB(10)));
  REQUIRE(os.pwrite(file.get(), std::span(&byte, 1), MiB(20)));
  std::uint64_t listed = 0;
  const auto data = os.data_extents(file.get(), {MiB(15), MiB(64)}).value();
  for (const FileRange& range : data)
    listed += range.end - range.begin;
  REQUIRE(!data.empty());
  CHECK(data.front().begin >= MiB(15));
  CHECK(data.back().end <= MiB(64));
  CHECK(std::any_of(data.begin(), data.end(), [](const FileRange& range) {
    return range.begin <= MiB(20) && range.end > MiB(20);
  }));
  if (listed == MiB(49)) SKIP_TEST("the file system cannot tell holes from data");
  CHECK(listed <= MiB(2));
  CHECK(os.unlink(path));
}

TEST_CASE("a_futex_wakes_another_process") {
  void* page = mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  auto* word = new (page) std::atomic<std::uint32_t>(0);
  const pid_t child = fork();
  if (child == 0) {
    const Deadline deadline = Deadline::after_ms(60'000);
    while (word->load() == 0) {
      if (futex_wait(*word, 0, deadline) == FutexWait::timed_out) _exit(1);
    }
    _exit(0);
  }
  word->store(1);
  futex_wake(*word, 1);
  int status = 0;
  waitpid(child, &status, 0);
  CHECK(status == 0);
  munmap(page, 4096);
}

TEST_CASE("a_futex_wait_ends_at_its_deadline") {
  std::atomic<std::uint32_t> word{5};
  CHECK(futex_wait(word, 5, Deadline::after_ms(1)) == FutexWait::timed_out);
  CHECK(futex_wait(word, 6, Deadline::after_ms(60'000)) == FutexWait::changed);
}

TEST_CASE("identity_is_read_again_after_a_fork") {
  RealOs os;
  const ProcessIdentity parent = os.identity();
  CHECK(parent.pid == getpid());
  CHECK(parent.start_time_ticks == read_start_time(os, getpid()).value());
  const int status = test::in_child([&] {
    const ProcessIdentity& child = os.identity();
    _exit(child.pid == getpid() && child.boot_id == parent.boot_id ? 0 : 1);
  });
  CHECK(status == 0);
}

TEST_CASE("descriptors_travel_over_a_socket_and_surplus_ones_are_refused") {
  RealOs os;
  int pair[2];
  REQUIRE(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0);
  const Fd left(pair[0]), right(pair[1]);
  const Fd sent = os.memfd_create("sent", 0).value();
  const std::byte payload[4] = {};
  const int fds[] = {sent.get(), sent.get()};
  REQUIRE(os.send_message(left.get(), payload, std::span(fds, 1)));
  std::byte into[4];
  const auto received = os.receive_message(right.get(), into, 1);
  REQUIRE(received);
  CHECK(received->bytes == 4);
  CHECK(received->fds.size() == 1);
  CHECK(os.peer_credentials(right.get()).value().uid == geteuid());
  REQUIRE(os.send_message(left.get(), payload, fds));
  const auto refused = os.receive_message(right.get(), into, 1);
  REQUIRE(!refused);
  CHECK(refused.error().code() == Code::corrupt);
  CHECK(os.receive_message(right.get(), into, 1).error().code() == Code::not_ready);
}

TEST_CASE("a_packet_that_is_too_long_is_said_to_be_cut_and_a_stream_never_is") {
  RealOs os;
  const bool is_packet = GENERATE(true, false);
  int pair[2];
  REQUIRE(socketpair(AF_UNIX, is_packet ? SOCK_SEQPACKET : SOCK_STREAM, 0, pair) == 0);
  const Fd left(pair[0]), right(pair[1]);
  CHECK(os.socket_type(left.get()).value() == (is_packet ? SOCK_SEQPACKET : SOCK_STREAM));
  const std::byte payload[8] = {};
  REQUIRE(os.send_message(left.get(), payload, {}).value() == 8);
  std::byte into[4];
  const auto received = os.receive_message(right.get(), into, 0);
  REQUIRE(received);
  CHECK(received->bytes == 4);
  CHECK(received->is_cut == is_packet);
}

TEST_CASE("a_wait_for_a_socket_ends_at_its_deadline_whatever_signals_come") {
  RealOs os;
  int pair[2];
  REQUIRE(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0);
  const Fd left(pair[0]), right(pair[1]);
  struct sigaction quiet = {}, before = {};
  quiet.sa_handler = [](int) {};
  REQUIRE(sigaction(SIGALRM, &quiet, &before) == 0);
  const itimerval often{{0, 1000}, {0, 1000}}, never{};
  REQUIRE(setitimer(ITIMER_REAL, &often, nullptr) == 0);
  const auto readable = os.wait_readable(right.get(), Deadline::after_ms(30));
  const std::vector<std::byte> much(KiB(64));
  while (os.send_message(left.get(), much, {})) {
  }
  const auto writable = os.wait_writable(left.get(), Deadline::after_ms(30));
  REQUIRE(setitimer(ITIMER_REAL, &never, nullptr) == 0);
  REQUIRE(sigaction(SIGALRM, &before, nullptr) == 0);
  CHECK(readable.value() == false);
  CHECK(writable.value() == false);
  CHECK(os.wait_readable(right.get(), Deadline::after_ms(60'000)).value());
}

TEST_CASE("sending_to_a_peer_that_is_gone_fails_and_raises_no_signal") {
  RealOs os;
  int pair[2];
  REQUIRE(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0);
  const Fd left(pair[0]);
  ::close(pair[1]);
  const std::byte payload[4] = {};
  CHECK(os.send_message(left.get(), payload, {}).error().sys_errno() == EPIPE);
  CHECK(os.wait_readable(left.get(), Deadline::after_ms(60'000)).value());
  std::byte into[4];
  CHECK(os.receive_message(left.get(), into, 0).value().bytes == 0);
}

TEST_CASE("calls_beneath_a_directory_follow_no_link_and_replace_nothing") {
  RealOs os;
  const std::string path = std::string(std::getenv("TEST_TMPDIR")) + "/beneath";
  REQUIRE(os.mkdir(path, 0700));
  const Fd directory = os.open(path, O_PATH | O_DIRECTORY).value();
  REQUIRE(os.open_at(directory.get(), "file", O_CREAT | O_EXCL | O_RDWR, 0600));
  REQUIRE(symlink("file", (path + "/link").c_str()) == 0);
  CHECK(!os.open_at(directory.get(), "link", O_RDONLY));
  CHECK(S_ISLNK(os.stat_at(directory.get(), "link").value().st_mode));
  CHECK(os.rename_at(directory.get(), "link", "file").error().code() == Code::already_exists);
  REQUIRE(os.rename_at(directory.get(), "link", "other"));
  REQUIRE(os.unlink_at(directory.get(), "other"));
  CHECK(os.stat_at(directory.get(), "file"));
  CHECK(os.stat_at(directory.get(), "other").error().code() == Code::not_found);
}

TEST_CASE("staged_files_stand_in_for_the_real_ones_and_the_others_stay") {
  StagedOs os(std::string(std::getenv("TEST_TMPDIR")) + "/staged");
  os.put("/proc/self/status", "Mems_allowed_list:\t1\n");
  CHECK(os.read_file("/proc/self/status").value() == "Mems_allowed_list:\t1\n");
  CHECK(os.list_directory("/proc/self").value() == std::vector<std::string>{"status"});
  CHECK(os.read_file("/proc/version").value().starts_with("Linux"));
}
