// The contract of Catalog::create_or_attach, run over every backend and every fake.

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <optional>
#include <stdexcept>
#include <thread>
#include <vector>

#include "tests/catch.h"
#include "tests/child.h"
#include "tests/conformance/backend_fixture.h"
#include "tests/conformance/borrowed_backend.h"
#include "tests/conformance/content.h"
#include "tests/skip.h"

using namespace strata;

namespace {

constexpr std::uint64_t kBytes = 100'000;
constexpr std::byte kFilled{0x5a};
// For those who must wait for somebody else, however slow the machine is.
constexpr std::uint64_t kPatienceMs = 250'000;

struct Shared {
  std::unique_ptr<BackendFixture> fixture = make_fixture();
  Backend& backend = fixture->backend();
  Catalog catalog = catalog_of(backend);
  const std::string uri = fixture->uri("mesh").to_string();

  Result<CreatedOrAttached> get(const Catalog::Fill& fill, std::uint64_t timeout_ms = kPatienceMs) {
    CreateOptions options;
    options.payload_bytes = kBytes;
    return catalog.create_or_attach(uri, options, fill, {.timeout_ms = timeout_ms});
  }

  bool is_there() {
    return backend.attach(fixture->uri("mesh"), {.timeout_ms = kPatienceMs}).has_value();
  }
};

Result<void> fill_all(Segment& segment) {
  return test::put_content(segment, std::vector<std::byte>(kBytes, kFilled));
}

Result<void> fill_half_and_die(Segment& segment) {
  STRATA_TRY(segment.write(0, std::vector<std::byte>(kBytes / 2, kFilled)));
  raise(SIGKILL);
  return {};
}

bool is_whole(const Segment& segment) {
  const auto content = test::content_of(segment);
  return content && *content == std::vector<std::byte>(kBytes, kFilled);
}

}  // namespace

TEST_CASE_METHOD(Shared, "the_first_creates_and_fills_and_the_next_attaches") {
  int fills = 0;
  const auto fill = [&](Segment& segment) {
    ++fills;
    return fill_all(segment);
  };
  const auto first = get(fill);
  if (!first) FAIL(first.error().to_string());
  CHECK(first->was_created);
  CHECK(first->segment.state() == SegmentState::ready);
  const auto second = get(fill);
  if (!second) FAIL(second.error().to_string());
  CHECK_FALSE(second->was_created);
  CHECK(is_whole(second->segment));
  CHECK(fills == 1);
}

TEST_CASE_METHOD(Shared, "nobody_sees_it_before_it_is_filled") {
  const auto made = get([&](Segment& segment) -> Result<void> {
    CHECK(backend.attach(fixture->uri("mesh"), {.timeout_ms = 0}).error().code() ==
          Code::not_ready);
    const auto late = get(fill_all, 0);
    REQUIRE(!late);
    CHECK(late.error().code() == Code::not_ready);
    return fill_all(segment);
  });
  CHECK(made);
  CHECK(is_there());
}

TEST_CASE_METHOD(Shared, "what_could_not_be_filled_is_gone_and_its_error_is_returned") {
  if (!fixture->has_names()) SKIP_TEST("without a name there is nothing to remove");
  SECTION("an error") {
    const auto made =
        get([](Segment&) -> Result<void> { return fail(Code::exhausted, "no more ink"); });
    REQUIRE(!made);
    CHECK(made.error().code() == Code::exhausted);
    CHECK(made.error().message().find("no more ink") != std::string::npos);
  }
  SECTION("an exception") {
    const auto made = get([](Segment&) -> Result<void> { throw std::runtime_error("no ink"); });
    REQUIRE(!made);
    CHECK(made.error().code() == Code::internal);
    CHECK(made.error().message().find("no ink") != std::string::npos);
  }
  CHECK(backend.stat(fixture->uri("mesh")).error().code() == Code::not_found);
  const auto again = get(fill_all);
  REQUIRE(again);
  CHECK(again->was_created);
}

TEST_CASE_METHOD(Shared, "who_fails_to_fill_leaves_another_segment_of_that_name_alone") {
  if (!fixture->has_names()) SKIP_TEST("without a name there is nothing to remove");
  std::optional<Segment> others;
  const auto made = get([&](Segment&) -> Result<void> {
    STRATA_TRY(backend.remove(fixture->uri("mesh"), {.even_if_attached = true}));
    STRATA_ASSIGN(others, backend.create(fixture->uri("mesh"),
                                         {.payload_bytes = 4096, .placement = {}, .job_id = {}}));
    return fail(Code::exhausted, "no more ink");
  });
  REQUIRE(!made);
  CHECK(made.error().code() == Code::exhausted);
  CHECK(is_there());
}

TEST_CASE_METHOD(Shared, "a_fill_that_seals_has_published") {
  const auto made = get([](Segment& segment) -> Result<void> {
    STRATA_TRY(fill_all(segment));
    return segment.seal();
  });
  if (!made) FAIL(made.error().to_string());
  CHECK(made->segment.state() == SegmentState::sealed);
}

TEST_CASE_METHOD(Shared, "of_many_threads_one_creates_and_all_see_it_whole") {
  std::atomic<int> created{0};
  std::atomic<int> whole{0};
  std::vector<std::thread> threads;
  // Kept until the end: some memory is gone once nobody is attached.
  std::vector<std::optional<Result<CreatedOrAttached>>> all(6);
  for (auto& mine : all) {
    threads.emplace_back([&] {
      const auto& got = mine.emplace(get(fill_all));
      if (!got) return;
      created += got->was_created ? 1 : 0;
      whole += is_whole(got->segment) ? 1 : 0;
    });
  }
  for (auto& thread : threads)
    thread.join();
  CHECK(created == 1);
  CHECK(whole == 6);
}

TEST_CASE_METHOD(Shared, "who_is_killed_while_filling_is_replaced_by_the_next") {
  STRATA_NEEDS_CHILDREN();
  if (!fixture->has_shared_names()) SKIP_TEST("its names are private to a process");
  const int status = test::in_child([&] { (void)get(fill_half_and_die); });
  REQUIRE(test::was_killed(status));
  const auto next = get(fill_all);
  if (!next) FAIL(next.error().to_string());
  CHECK(next->was_created);
  CHECK(is_whole(next->segment));
}

// Exit codes of those who live on: 10 where they created, 11 where they attached.
TEST_CASE_METHOD(Shared,
                 "of_processes_that_are_killed_while_filling_the_survivors_get_one_whole_segment") {
  STRATA_NEEDS_CHILDREN();
  if (!fixture->has_shared_names()) SKIP_TEST("its names are private to a process");
  constexpr int kVictims = 3;
  constexpr int kSurvivors = 3;
  std::vector<pid_t> victims, survivors;
  const auto child = [&](const Catalog::Fill& fill) {
    return test::start_child([&] {
      const auto got = get(fill);
      if (!got) {
        std::fprintf(stderr, "%s\n", got.error().to_string().c_str());
        return 1;
      }
      if (!is_whole(got->segment)) return 2;
      return got->was_created ? 10 : 11;
    });
  };
  for (int i = 0; i < kVictims; ++i)
    victims.push_back(child(fill_half_and_die));
  for (int i = 0; i < kSurvivors; ++i)
    survivors.push_back(child(fill_all));
  int created = 0;
  for (const pid_t survivor : survivors) {
    const int status = test::wait_for(survivor);
    REQUIRE(WIFEXITED(status));
    CHECK((WEXITSTATUS(status) == 10 || WEXITSTATUS(status) == 11));
    created += WEXITSTATUS(status) == 10 ? 1 : 0;
  }
  // A victim that came too late to create has attached to what was there.
  for (const pid_t victim : victims) {
    const int status = test::wait_for(victim);
    CHECK((test::was_killed(status) || WEXITSTATUS(status) == 11));
  }
  CHECK(created == 1);
  CHECK(is_there());
}

TEST_CASE_METHOD(Shared, "who_comes_while_others_remove_it_gets_a_whole_one") {
  STRATA_NEEDS_CHILDREN();
  if (!fixture->has_shared_names()) SKIP_TEST("its names are private to a process");
  constexpr int kRounds = 40;
  const pid_t remover = test::start_child([&] {
    for (int i = 0; i < kRounds; ++i)
      (void)backend.remove(fixture->uri("mesh"), {.even_if_attached = true});
  });
  int whole = 0;
  for (int i = 0; i < kRounds; ++i) {
    const auto got = get(fill_all);
    if (!got) FAIL(got.error().to_string());
    whole += is_whole(got->segment) ? 1 : 0;
  }
  CHECK(whole == kRounds);
  CHECK(test::wait_for(remover) == 0);
}
