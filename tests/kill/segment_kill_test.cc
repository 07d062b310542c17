// A process is killed at every system call of every operation on segments. Whatever it was
// doing, others must not be held up, the remains must be reclaimed, and no byte of a live
// segment may change. The same calls are also made to fail, one by one.

#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <functional>

#include "os/fault_os.h"
#include "shm/shm_backend.h"
#include "tests/catch.h"
#include "tests/child.h"
#include "tests/temp_dir.h"
#include "tests/verified.h"

using namespace strata;

namespace {

constexpr std::uint64_t kBytes = 10'000;

const SegmentUri kLive{"shm", {}, "live"};
const SegmentUri kTarget{"shm", {}, "target"};

// Payloads of their own lie beside the headers: nothing of them but the names matters here.
ShmOptions in(const test::TempDir& directory) {
  return {.directory = directory.path(),
          .huge_2m_directory = directory / "huge",
          .huge_1g_directory = {}};
}

CreateOptions growable(Lifetime lifetime, Publish publish = Publish::at_once) {
  CreateOptions options;
  options.payload_bytes = kBytes;
  options.max_bytes = 4 * kBytes;
  options.lifetime = lifetime;
  options.publish = publish;
  return options;
}

// Header and payload in two files, without a pool of huge pages to take them from.
CreateOptions in_two_files(Lifetime lifetime, Publish publish = Publish::at_once) {
  CreateOptions options;
  options.payload_bytes = kBytes;
  options.page_size = PageSize::huge_2m;
  options.commit = Commit::sparse;
  options.lifetime = lifetime;
  options.publish = publish;
  return options;
}

void fill(std::span<std::byte> bytes) {
  for (std::size_t i = 0; i < bytes.size(); ++i)
    bytes[i] = static_cast<std::byte>(i % 251);
}

bool is_filled(std::span<const std::byte> bytes) {
  for (std::size_t i = 0; i < kBytes; ++i) {
    if (bytes[i] != static_cast<std::byte>(i % 251)) return false;
  }
  return true;
}

// Runs `body` in a child that ends by SIGKILL, at the latest when `body` returns.
template <typename Body>
int killed_child(Body body) {
  return test::in_child([&] {
    body();
    raise(SIGKILL);
  });
}

// Everything that a test needs anew for each point.
struct World {
  test::TempDir directory{"/dev/shm"};
  RealOs os;
  ShmBackend backend{os, in(directory)};
  Segment live = make_live();

  Segment make_live() {
    REQUIRE(os.mkdir(directory / "huge", 0700));
    auto segment = backend.create(kLive, growable(Lifetime::until_removed));
    REQUIRE(segment);
    fill(segment->writable_bytes().value());
    return std::move(*segment);
  }

  // The target exists, filled, and nobody is attached to it.
  void make_target(const CreateOptions& options = growable(Lifetime::until_removed)) {
    auto segment = backend.create(kTarget, options);
    REQUIRE(segment);
    fill(segment->writable_bytes().value());
  }

  // The target as a killed process leaves it.
  void make_remains(const CreateOptions& options) {
    killed_child([&] {
      auto segment = backend.create(kTarget, options);
      if (segment) fill(segment->writable_bytes().value());
      raise(SIGKILL);
    });
    REQUIRE(backend.stat(kTarget));
  }

  void check_live() {
    REQUIRE(is_filled(live.host_bytes().value()));
    const auto again = backend.attach(kLive, {.access = Access::read_only});
    REQUIRE(again);
    REQUIRE(is_filled(again->host_bytes().value()));
  }

  // What others meet afterwards: an answer in time, never a wait for the dead.
  void check_target(const std::vector<Code>& allowed) {
    const auto attached = backend.attach(kTarget, {.timeout_ms = 2000});
    if (attached) {
      REQUIRE(is_filled(attached->host_bytes().value()));
      return;
    }
    INFO(attached.error().to_string());
    REQUIRE(std::find(allowed.begin(), allowed.end(), attached.error().code()) != allowed.end());
  }

  // gc brings back what is proven to be orphaned, and the name can be used again.
  void check_reclaimed() {
    REQUIRE(backend.reclaim({}, {}));
    const auto decisions = backend.reclaim({}, {}).value();
    for (const auto& decision : decisions)
      REQUIRE(!decision.is_orphan);
    if (backend.stat(kTarget)) {
      const auto removed = backend.remove(kTarget, {});
      if (!removed) FAIL(removed.error().to_string());
    }
    REQUIRE(backend.list({}).value().size() == 1);
    REQUIRE(os.list_directory(directory.path()).value() ==
            std::vector<std::string>{"huge", "strata.live"});
    REQUIRE(os.list_directory(directory / "huge").value().empty());
    REQUIRE(backend.create(kTarget, growable(Lifetime::until_removed)));
    REQUIRE(backend.remove(kTarget, {}));
  }
};

struct Operation {
  const char* name;
  std::function<void(World&)> prepare;
  // Runs in the process that is killed, or whose calls fail.
  std::function<Result<void>(ShmBackend&)> run;
  std::vector<Code> allowed;  // what an attacher may be told afterwards
};

template <typename T>
Result<void> drop(Result<T> result) {
  if (!result) return unexpected(result.error());
  return {};
}

Result<void> create_fill_publish_as(ShmBackend& backend, const CreateOptions& options) {
  STRATA_ASSIGN(Segment made, backend.create(kTarget, options));
  STRATA_ASSIGN(const auto bytes, made.writable_bytes());
  fill(bytes);
  return made.publish();
}

Result<void> create_fill_publish(ShmBackend& backend) {
  return create_fill_publish_as(backend, growable(Lifetime::process, Publish::by_creator));
}

Result<void> attach_target(ShmBackend& backend) { return drop(backend.attach(kTarget, {})); }

std::vector<Operation> operations() {
  const auto target = [](World& world) { world.make_target(); };
  return {
      {"create", [](World&) {}, create_fill_publish, {Code::not_found, Code::not_ready}},
      {"create over an orphan",
       [](World& world) { world.make_remains(growable(Lifetime::process, Publish::by_creator)); },
       create_fill_publish,
       {Code::not_found, Code::not_ready}},
      {"attach", target, attach_target, {}},
      {"attach as the last",
       [](World& world) { world.make_remains(growable(Lifetime::last_detach)); },
       attach_target,
       {Code::not_found}},
      {"grow",
       target,
       [](ShmBackend& backend) -> Result<void> {
         STRATA_ASSIGN(Segment segment, backend.attach(kTarget, {}));
         return segment.grow(3 * kBytes);
       },
       {}},
      {"seal",
       target,
       [](ShmBackend& backend) -> Result<void> {
         STRATA_ASSIGN(Segment segment, backend.attach(kTarget, {}));
         return segment.seal();
       },
       {Code::failed_precondition}},
      {"remove",
       target,
       [](ShmBackend& backend) { return backend.remove(kTarget, {}); },
       {Code::not_found}},
      {"gc",
       [](World& world) { world.make_remains(growable(Lifetime::process)); },
       [](ShmBackend& backend) { return drop(backend.reclaim({}, {})); },
       {Code::not_found}},
      {"create in two files",
       [](World&) {},
       [](ShmBackend& backend) {
         return create_fill_publish_as(backend,
                                       in_two_files(Lifetime::process, Publish::by_creator));
       },
       {Code::not_found, Code::not_ready}},
      {"create in two files, ready at once",
       [](World&) {},
       [](ShmBackend& backend) -> Result<void> {
         STRATA_ASSIGN(Segment made,
                       backend.create(kTarget, in_two_files(Lifetime::until_removed)));
         STRATA_ASSIGN(const auto bytes, made.writable_bytes());
         fill(bytes);
         return {};
       },
       {Code::not_found, Code::not_ready}},
      {"remove of two files",
       [](World& world) { world.make_target(in_two_files(Lifetime::until_removed)); },
       [](ShmBackend& backend) { return backend.remove(kTarget, {}); },
       {Code::not_found}},
      {"gc of two files",
       [](World& world) { world.make_remains(in_two_files(Lifetime::process)); },
       [](ShmBackend& backend) { return drop(backend.reclaim({}, {})); },
       {Code::not_found}},
  };
}

// The identity of a process is read once and is no part of the operation.
void begin(FaultOs& os) {
  (void)os.identity();
  os.reset();
}

// The calls that the operation makes when nothing goes wrong.
std::vector<std::string> trace_calls(const Operation& operation) {
  World world;
  operation.prepare(world);
  FaultOs os;
  begin(os);
  ShmBackend backend(os, in(world.directory));
  const auto result = operation.run(backend);
  INFO(operation.name);
  if (!result) FAIL(result.error().to_string());
  return os.trace();
}

}  // namespace

TEST_CASE("a_kill_at_any_call_of_any_operation_is_cleaned_up_and_harms_nobody") {
  std::uint64_t points = 0;
  for (const Operation& operation : operations()) {
    const std::uint64_t calls = trace_calls(operation).size();
    std::printf("%s: %llu calls\n", operation.name, static_cast<unsigned long long>(calls));
    REQUIRE(calls > 0);
    for (std::uint64_t n = 1; n <= calls; ++n) {
      World world;
      operation.prepare(world);
      const int status = killed_child([&] {
        FaultOs os;
        begin(os);
        os.kill_at(n);
        ShmBackend backend(os, in(world.directory));
        (void)operation.run(backend);
        _exit(0);  // not killed: the point was not reached
      });
      INFO(operation.name << ", killed at call " << n << " of " << calls);
      REQUIRE(WIFSIGNALED(status));
      REQUIRE(WTERMSIG(status) == SIGKILL);
      world.check_live();
      world.check_target(operation.allowed);
      world.check_reclaimed();
      world.check_live();
      ++points;
    }
  }
  report_verified(points, "kill points");
}

TEST_CASE("a_failure_of_any_call_of_any_operation_is_reported_and_loses_nothing") {
  std::uint64_t points = 0;
  for (const Operation& operation : operations()) {
    const std::vector<std::string> calls = trace_calls(operation);
    for (const int sys_errno : {ENOSPC, EACCES, EIO}) {
      for (std::uint64_t n = 1; n <= calls.size(); ++n) {
        // The kernel never refuses to unmap a whole mapping, and a lease lasts as long as one.
        if (calls[n - 1] == "munmap") continue;
        World world;
        operation.prepare(world);
        FaultOs os;
        begin(os);
        {
          os.fail_at(n, sys_errno);
          ShmBackend backend(os, in(world.directory));
          const auto result = operation.run(backend);
          if (!result) REQUIRE(!result.error().message().empty());
        }
        INFO(operation.name << ": errno " << sys_errno << " from call " << n << " of "
                            << calls.size() << ", " << calls[n - 1]);
        world.check_live();
        world.check_target({Code::not_found, Code::not_ready, Code::failed_precondition});
        world.check_reclaimed();
        ++points;
      }
    }
  }
  report_verified(points, "injected failures");
}
