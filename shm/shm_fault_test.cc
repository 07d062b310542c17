// Every verb of a segment with every system call of it failing in turn: it has happened, or nothing
// has changed.

#include <algorithm>
#include <cerrno>
#include <functional>

#include "os/fault_os.h"
#include "shm/shm_backend.h"
#include "tests/catch.h"
#include "tests/temp_dir.h"
#include "tests/verified.h"

using namespace strata;

namespace {

constexpr std::uint64_t kBytes = 20'000;

// How a segment is made, and what holds it besides.
struct Made {
  std::string what;
  std::function<Result<Segment>(ShmBackend&)> make;
};

CreateOptions growing() {
  CreateOptions options;
  options.payload_bytes = kBytes;
  options.max_bytes = 4 * kBytes;
  return options;
}

std::vector<Made> kinds() {
  return {{"named",
           [](ShmBackend& backend) {
             return backend.create({"shm", {}, "mesh"}, growing());
           }},
          {"anonymous", [](ShmBackend& backend) { return backend.create_anonymous(growing()); }}};
}

struct Fixture {
  test::TempDir directory{"/dev/shm"};
  FaultOs os;
  ShmBackend backend{os, {directory.path(), {}, {}}};
  std::uint64_t failures = 0;

  ~Fixture() { report_verified(failures, "injected failures"); }

  // Runs `verb` on a fresh segment once for each of its calls, which then fails.
  void fail_each_call(const std::function<Result<void>(Segment&)>& verb,
                      const std::function<void(Segment&, bool)>& check) {
    for (const Made& kind : kinds()) {
      for (std::uint64_t n = 1;; ++n) {
        INFO(kind.what << ", call " << n);
        os.reset();
        bool was_reached = false;
        {
          Segment segment = kind.make(backend).value();
          std::fill_n(segment.writable_bytes()->begin(), kBytes, std::byte{0x5A});
          os.reset();
          os.fail_at(n, ENOMEM);
          const auto done = verb(segment);
          was_reached = os.calls() >= n;
          os.reset();
          check(segment, done.has_value());
        }
        // A lock that could not be let go of has ended with the attachment.
        if (kind.what == "named") REQUIRE(backend.remove({"shm", {}, "mesh"}, {}));
        if (!was_reached) break;
        ++failures;
      }
    }
  }
};

bool is_whole(const Segment& segment) {
  const auto bytes = segment.host_bytes().value().first(kBytes);
  return std::all_of(bytes.begin(), bytes.end(), [](std::byte b) { return b == std::byte{0x5A}; });
}

}  // namespace

TEST_CASE_METHOD(Fixture, "a_seal_that_fails_at_any_call_changes_nothing") {
  fail_each_call([](Segment& segment) { return segment.seal(Deadline::after_ms(0)); },
                 [&](Segment& segment, bool was_sealed) {
                   CHECK(is_whole(segment));
                   if (!was_sealed) {
                     CHECK(segment.state() == SegmentState::ready);
                     CHECK(segment.access() == Access::read_write);
                     REQUIRE(segment.writable_bytes());
                     segment.writable_bytes()->front() = std::byte{0x5A};  // no fault
                     if (!segment.uri().name.empty()) {
                       const auto other = backend.attach(segment.uri(), {.timeout_ms = 0});
                       INFO((other ? "" : other.error().to_string()));
                       CHECK(other);
                     }
                     CHECK(segment.grow(2 * kBytes));
                     const auto again = segment.seal();
                     INFO((again ? "" : again.error().to_string()));
                     CHECK(again);
                   }
                   CHECK(segment.state() == SegmentState::sealed);
                   CHECK(segment.verify());
                 });
}

TEST_CASE_METHOD(Fixture, "growth_that_fails_at_any_call_leaves_the_size_and_can_be_tried_again") {
  fail_each_call([](Segment& segment) { return segment.grow(3 * kBytes, Deadline::after_ms(0)); },
                 [&](Segment& segment, bool has_grown) {
                   CHECK(segment.payload_bytes() == (has_grown ? 3 : 1) * kBytes);
                   CHECK(is_whole(segment));
                   CHECK(segment.refresh().value() == segment.payload_bytes());
                   REQUIRE(segment.grow(3 * kBytes));
                   const auto fresh = segment.host_bytes()->subspan(kBytes);
                   CHECK(std::all_of(fresh.begin(), fresh.end(),
                                     [](std::byte b) { return b == std::byte{0}; }));
                 });
}

TEST_CASE_METHOD(Fixture, "joining_that_fails_at_any_call_can_be_tried_again") {
  fail_each_call(
      [](Segment& segment) -> Result<void> {
        STRATA_TRY(segment.participant());
        return {};
      },
      [&](Segment& segment, bool) {
        const auto joined = segment.participant();
        REQUIRE(joined);
        CHECK((*joined)->is_alive((*joined)->token()).value());
      });
}
