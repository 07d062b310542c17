// The contract of Backend and Segment, run over every backend and every fake.

#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <csignal>
#include <cstring>
#include <optional>
#include <thread>

#include "segment/lease.h"
#include "tests/catch.h"
#include "tests/child.h"
#include "tests/conformance/backend_fixture.h"
#include "tests/conformance/borrowed_backend.h"
#include "tests/conformance/content.h"
#include "tests/skip.h"

using namespace strata;

namespace {

struct Suite {
  std::unique_ptr<BackendFixture> fixture = make_fixture();
  Backend& backend = fixture->backend();

  SegmentUri uri(const std::string& name = "mesh") { return fixture->uri(name); }

  Result<std::vector<ReclaimDecision>> reclaim(const ReclaimOptions& options = {}) {
    return backend.reclaim(uri().container, options);
  }

  Segment create(std::uint64_t bytes, CreateOptions options = {}) {
    options.payload_bytes = bytes;
    auto segment = backend.create(uri(), options);
    if (!segment) FAIL(segment.error().to_string());
    return std::move(*segment);
  }

  Segment attach(Access access = Access::read_write) {
    auto segment = backend.attach(uri(), {.access = access});
    if (!segment) FAIL(segment.error().to_string());
    return std::move(*segment);
  }

  Code attach_failure(AttachOptions options = {}) {
    options.timeout_ms = 20;
    const auto segment = backend.attach(uri(), options);
    if (segment) FAIL("attach succeeded");
    INFO(segment.error().to_string());
    return segment.error().code();
  }
};

void fill(Segment& segment, unsigned seed) {
  std::vector<std::byte> content(segment.payload_bytes());
  for (std::size_t i = 0; i < content.size(); ++i)
    content[i] = static_cast<std::byte>((i * 31 + seed) & 0xff);
  const auto done = test::put_content(segment, content);
  if (!done) FAIL(done.error().to_string());
}

// What everybody is told who may not write.
Code write_failure(Segment& segment) {
  const auto written = segment.write(0, std::vector<std::byte>(1));
  if (written) FAIL("write succeeded");
  const bool has_bytes = segment.writable_bytes().has_value();
  if (has_bytes) FAIL("there are bytes to write to");
  return written.error().code();
}

bool is_zero(std::span<const std::byte> bytes) {
  return std::all_of(bytes.begin(), bytes.end(), [](std::byte b) { return b == std::byte{0}; });
}

JobOracle ended(const std::string& job) {
  return [job](std::string_view asked) -> JobState {
    if (asked != job) return {};
    return {JobState::Kind::ended, "the test says so"};
  };
}

bool holds(std::span<const std::byte> bytes, unsigned seed) {
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    if (bytes[i] != static_cast<std::byte>((i * 31 + seed) & 0xff)) return false;
  }
  return true;
}

bool holds(const Segment& segment, unsigned seed) {
  const auto content = test::content_of(segment);
  if (!content) FAIL(content.error().to_string());
  return holds(*content, seed);
}

// Writes where the host finds the payload, in a child that this is to kill.
bool is_killed_by_writing(const Segment& segment) {
  const int status = test::in_child([&] {
    signal(SIGSEGV, SIG_DFL);
    const auto bytes = segment.host_bytes().value();
    const_cast<volatile std::byte*>(bytes.data())[0] = std::byte{0};
  });
  return WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV;
}

}  // namespace

TEST_CASE_METHOD(Suite, "attach_sees_the_creators_bytes_whatever_their_number") {
  for (const std::uint64_t bytes : {1ull, 63ull, 4095ull, 4096ull, 4097ull, 100'001ull}) {
    const std::string name = "size-" + std::to_string(bytes);
    auto made = backend.create(uri(name), {.payload_bytes = bytes, .placement = {}, .job_id = {}});
    REQUIRE(made);
    fill(*made, 3);
    const auto seen = backend.attach(uri(name), {.access = Access::read_only});
    REQUIRE(seen);
    CHECK(seen->payload_bytes() == bytes);
    CHECK(seen->identity().uuid == made->identity().uuid);
    CHECK(holds(*seen, 3));
  }
}

TEST_CASE_METHOD(Suite, "a_new_segment_is_zero_filled_and_aligned_to_pages") {
  const Segment made = create(100'000);
  CHECK(is_zero(test::content_of(made).value()));
  const bool has_host = backend.capabilities().has(Capability::host_bytes);
  const auto address = has_host ? reinterpret_cast<std::uintptr_t>(made.host_bytes().value().data())
                                : static_cast<std::uintptr_t>(made.device_bytes().value().address);
  CHECK(address % kPageBytes == 0);
}

TEST_CASE_METHOD(Suite, "a_name_that_nobody_made_is_not_found") {
  CHECK(attach_failure() == Code::not_found);
  if (!fixture->has_names()) return;
  CHECK(backend.stat(uri()).error().code() == Code::not_found);
  CHECK(backend.remove(uri(), {}).error().code() == Code::not_found);
}

TEST_CASE_METHOD(Suite, "the_second_creator_of_a_name_is_refused_and_the_first_unharmed") {
  Segment first = create(4096);
  fill(first, 1);
  const auto second = backend.create(uri(), {.payload_bytes = 8192, .placement = {}, .job_id = {}});
  REQUIRE(!second);
  CHECK(second.error().code() == Code::already_exists);
  CHECK(attach().payload_bytes() == 4096);
  CHECK(holds(attach(), 1));
}

TEST_CASE_METHOD(Suite, "of_many_creators_of_one_name_exactly_one_wins") {
  std::atomic<int> winners{0};
  std::vector<std::thread> threads;
  // Kept until the end: some memory is gone, and its name free, once nobody is attached.
  std::vector<std::optional<Segment>> made(8);
  for (auto& mine : made) {
    threads.emplace_back([&] {
      auto created = backend.create(uri(), {.payload_bytes = 4096, .placement = {}, .job_id = {}});
      if (!created) return;
      mine.emplace(std::move(*created));
      ++winners;
    });
  }
  for (auto& thread : threads)
    thread.join();
  CHECK(winners == 1);
}

TEST_CASE_METHOD(Suite, "impossible_sizes_are_invalid_and_leave_no_name") {
  for (const std::uint64_t bytes : {std::uint64_t{0}, ~std::uint64_t{0}, std::uint64_t{1} << 60}) {
    const auto made =
        backend.create(uri(), {.payload_bytes = bytes, .placement = {}, .job_id = {}});
    REQUIRE(!made);
    CHECK(made.error().code() == Code::invalid_argument);
    CHECK(attach_failure() == Code::not_found);
  }
}

TEST_CASE_METHOD(Suite, "a_read_only_attacher_cannot_write_not_even_by_force") {
  Segment made = create(4096);
  fill(made, 5);
  Segment reader = attach(Access::read_only);
  CHECK(write_failure(reader) == Code::failed_precondition);
  if (backend.capabilities().has(Capability::host_bytes)) CHECK(is_killed_by_writing(reader));
  CHECK(holds(made, 5));
}

TEST_CASE_METHOD(Suite, "copy_on_write_edits_are_seen_by_nobody_else") {
  STRATA_NEEDS(Capability::copy_on_write);
  Segment made = create(10'000);
  fill(made, 1);
  Segment copy = attach(Access::copy_on_write);
  CHECK(holds(copy, 1));
  fill(copy, 2);
  CHECK(holds(copy, 2));
  CHECK(holds(made, 1));
}

TEST_CASE_METHOD(Suite, "attach_reports_not_ready_while_creator_initialises") {
  CreateOptions options;
  options.publish = Publish::by_creator;
  Segment made = create(4096, options);
  CHECK(attach_failure() == Code::not_ready);
  std::thread publisher([&] {
    fill(made, 9);
    REQUIRE(made.publish());
  });
  const auto waited = backend.attach(uri(), {.timeout_ms = 60'000});
  publisher.join();
  REQUIRE(waited);
  CHECK(holds(*waited, 9));
  CHECK(made.publish().error().code() == Code::failed_precondition);
}

TEST_CASE_METHOD(Suite, "a_creator_that_dies_before_publishing_is_named_and_reclaimed") {
  STRATA_NEEDS_CHILDREN();
  if (!fixture->has_shared_names()) SKIP_TEST("its names are private to a process");
  const int status = test::in_child([&] {
    CreateOptions options;
    options.payload_bytes = 4096;
    options.publish = Publish::by_creator;
    const auto made = backend.create(uri(), options);
    raise(SIGKILL);
  });
  REQUIRE(WIFSIGNALED(status));
  const auto failed = backend.attach(uri(), {.timeout_ms = 20});
  REQUIRE(!failed);
  CHECK(failed.error().code() == Code::not_ready);
  CHECK(failed.error().message().find("died") != std::string::npos);
  const auto decisions = reclaim();
  REQUIRE(decisions);
  CHECK(std::any_of(decisions->begin(), decisions->end(),
                    [](const ReclaimDecision& d) { return d.was_reclaimed; }));
  CHECK(attach_failure() == Code::not_found);
}

TEST_CASE_METHOD(Suite, "a_reader_that_detaches_or_is_killed_leaves_every_byte") {
  STRATA_NEEDS_CHILDREN();
  Segment made = create(100'000);
  fill(made, 4);
  { const Segment reader = attach(Access::read_only); }
  const int status = test::in_child([&] {
    const Segment reader = attach(Access::read_write);
    raise(SIGKILL);
  });
  CHECK(WIFSIGNALED(status));
  CHECK(holds(made, 4));
  CHECK(holds(attach(), 4));
}

TEST_CASE_METHOD(Suite, "growth_is_seen_after_refresh_at_the_same_address") {
  STRATA_NEEDS(Capability::grow);
  CreateOptions options;
  options.max_bytes = MiB(1);
  Segment made = create(4096, options);
  fill(made, 6);
  Segment other = attach();
  const std::byte* const address = other.host_bytes().value().data();
  REQUIRE(made.grow(300'000));
  CHECK(made.payload_bytes() == 300'000);
  CHECK(other.payload_bytes() == 4096);
  CHECK(other.refresh().value() == 300'000);
  const auto bytes = other.writable_bytes().value();
  CHECK(bytes.data() == address);
  CHECK(holds(bytes.first(4096), 6));
  CHECK(is_zero(bytes.subspan(4096)));
  fill(other, 7);
  CHECK(holds(made, 7));
  CHECK(made.grow(100));  // never shrinks
  CHECK(made.payload_bytes() == 300'000);
  CHECK(made.grow(MiB(1) + 1).error().code() == Code::invalid_argument);
  CHECK(other.grow(MiB(1)));
  CHECK(attach(Access::read_only).grow(MiB(1)).error().code() == Code::failed_precondition);
}

TEST_CASE_METHOD(Suite, "a_sealed_segment_is_final_for_everybody_and_can_be_verified") {
  Segment made = create(10'001);
  fill(made, 8);
  CHECK(made.verify().error().code() == Code::failed_precondition);
  const auto sealed = made.seal();
  if (!sealed) FAIL(sealed.error().to_string());
  CHECK(made.state() == SegmentState::sealed);
  CHECK(made.verify());
  CHECK(write_failure(made) == Code::failed_precondition);
  CHECK(made.grow(20'000).error().code() == Code::failed_precondition);
  CHECK(made.seal());  // again: nothing to do
  CHECK(attach_failure({.access = Access::read_write}) == Code::failed_precondition);
  const Segment reader = attach(Access::read_only);
  CHECK(reader.verify());
  CHECK(holds(reader, 8));
  if (backend.capabilities().has(Capability::host_bytes)) CHECK(is_killed_by_writing(made));
  if (!backend.capabilities().has(Capability::copy_on_write)) return;
  Segment copy = attach(Access::copy_on_write);
  fill(copy, 1);
  CHECK(reader.verify());
}

TEST_CASE_METHOD(Suite, "sealing_is_refused_while_another_writer_is_attached") {
  Segment made = create(4096);
  {
    const Segment writer = attach();
    CHECK(made.seal(Deadline::after_ms(0)).error().code() == Code::failed_precondition);
    fill(made, 2);
  }
  const Segment reader = attach(Access::read_only);
  CHECK(made.seal());
  CHECK(holds(reader, 2));
}

TEST_CASE_METHOD(Suite, "a_lifetime_ends_when_it_says_and_not_before") {
  if (!fixture->has_lifetimes()) SKIP_TEST("the backend knows one lifetime only");
  CreateOptions options;
  SECTION("process: with its creator, while others keep their memory") {
    options.lifetime = Lifetime::process;
    std::optional<Segment> made(create(4096, options));
    fill(*made, 3);
    const Segment other = attach();
    { const Segment passing = attach(); }
    CHECK(backend.stat(uri()));
    made.reset();
    CHECK(attach_failure() == Code::not_found);
    CHECK(holds(other, 3));
  }
  SECTION("last_detach: with whoever leaves last") {
    options.lifetime = Lifetime::last_detach;
    std::optional<Segment> made(create(4096, options));
    std::optional<Segment> other(attach());
    made.reset();
    CHECK(backend.stat(uri()));
    other.reset();
    CHECK(attach_failure() == Code::not_found);
  }
  SECTION("until_removed: with nobody") {
    options.lifetime = Lifetime::until_removed;
    { const Segment made = create(4096, options); }
    CHECK(backend.stat(uri()));
    CHECK(reclaim());
    CHECK(backend.stat(uri()));
  }
  SECTION("job: when its end is told") {
    options.lifetime = Lifetime::job;
    options.job_id = "4711";
    { const Segment made = create(4096, options); }
    CHECK(reclaim());
    CHECK(backend.stat(uri()));
    CHECK(reclaim({.job_oracle = ended("4712")}));
    CHECK(backend.stat(uri()));
    CHECK(reclaim({.job_oracle = ended("4711")}));
    CHECK(!backend.stat(uri()));
  }
}

TEST_CASE_METHOD(Suite, "remove_refuses_what_is_in_use_and_by_force_leaves_users_their_memory") {
  if (!fixture->has_names()) SKIP_TEST("without a name there is nothing to remove");
  Segment made = create(4096);
  fill(made, 3);
  const auto refused = backend.remove(uri(), {});
  REQUIRE(!refused);
  CHECK(refused.error().code() == Code::failed_precondition);
  CHECK(holds(attach(), 3));
  REQUIRE(backend.remove(uri(), {.even_if_attached = true}));
  CHECK(attach_failure() == Code::not_found);
  CHECK(holds(made, 3));
  CHECK(made.state() == SegmentState::retired);
  const auto again = backend.create(uri(), {.payload_bytes = 4096, .placement = {}, .job_id = {}});
  REQUIRE(again);
  CHECK(again->identity().uuid != made.identity().uuid);
}

TEST_CASE_METHOD(Suite, "stat_and_list_tell_facts_without_mapping") {
  if (!fixture->has_names()) SKIP_TEST("without names there is nothing to list");
  CreateOptions options;
  options.payload_bytes = 10'000;
  const auto b = backend.create(uri("b"), options);
  const auto a = backend.create(uri("a"), options);
  REQUIRE(b);
  REQUIRE(a);
  const auto facts = backend.stat(uri("a")).value();
  CHECK(facts.payload_bytes == 10'000);
  CHECK((facts.device ? facts.device->allocation_bytes : facts.committed_bytes) >= 10'000);
  CHECK(facts.state == SegmentState::ready);
  CHECK(facts.is_attached_for_writing);
  CHECK(facts.is_creator_alive);
  CHECK(facts.owner_uid == geteuid());
  CHECK(facts.mode == 0600);
  const auto all = backend.list(uri().container).value();
  REQUIRE(all.size() == 2);
  CHECK(all[0].uri == uri("a"));
  CHECK(all[1].uri == uri("b"));
}

TEST_CASE_METHOD(Suite, "reclaim_takes_orphans_alone_and_a_dry_run_takes_nothing") {
  STRATA_NEEDS_CHILDREN();
  if (!fixture->has_shared_names()) SKIP_TEST("its names are private to a process");
  if (!fixture->has_lifetimes()) SKIP_TEST("the backend knows one lifetime only");
  const auto die_with = [&](const std::string& name, Lifetime lifetime) {
    test::in_child([&] {
      CreateOptions options;
      options.payload_bytes = 4096;
      options.lifetime = lifetime;
      const auto made = backend.create(uri(name), options);
      raise(SIGKILL);
    });
  };
  die_with("orphan-process", Lifetime::process);
  die_with("orphan-last", Lifetime::last_detach);
  die_with("kept", Lifetime::until_removed);
  Segment live = create(4096, {.placement = {}, .lifetime = Lifetime::process, .job_id = {}});
  const auto reclaimed = [&](const ReclaimOptions& options) {
    std::vector<std::string> orphans;
    const auto decisions = reclaim(options).value();
    for (const auto& decision : decisions) {
      CHECK(!decision.evidence.empty());
      CHECK(decision.was_reclaimed == (decision.is_orphan && !options.dry_run));
      if (decision.is_orphan) orphans.push_back(decision.uri.name);
    }
    return orphans;
  };
  const std::vector<std::string> expected = {"orphan-last", "orphan-process"};
  CHECK(reclaimed({.dry_run = true}) == expected);
  CHECK(reclaimed({.dry_run = true}) == expected);
  CHECK(reclaimed({}) == expected);
  CHECK(reclaimed({}).empty());
  CHECK(backend.stat(uri("kept")));
  CHECK(backend.stat(uri()));
}

TEST_CASE_METHOD(Suite, "two_attachments_are_two_participants") {
  Segment one = create(4096);
  Segment two = attach();
  const auto first = one.participant();
  const auto second = two.participant();
  if (!first) FAIL(first.error().to_string());
  REQUIRE(second);
  CHECK((*first)->token() != (*second)->token());
  CHECK((*first)->is_alive((*second)->token()).value());
}

TEST_CASE_METHOD(Suite, "a_reader_joins_as_a_participant_and_still_cannot_write") {
  Segment made = create(4096);
  const Participant* const writer = made.participant().value();
  for (const Access access : {Access::read_only, Access::copy_on_write}) {
    const bool is_copy = access == Access::copy_on_write;
    if (is_copy && !backend.capabilities().has(Capability::copy_on_write)) continue;
    std::optional<Segment> reader(attach(access));
    const auto joined = reader->participant();
    if (!joined) FAIL(joined.error().to_string());
    const std::uint32_t token = (*joined)->token();
    CHECK(token != writer->token());
    CHECK(reader->participant().value() == *joined);
    CHECK(writer->is_alive(token).value());
    if (!is_copy) CHECK(write_failure(*reader) == Code::failed_precondition);
    reader.reset();
    CHECK(!writer->is_alive(token).value());
  }
}

TEST_CASE_METHOD(Suite, "a_reader_that_has_joined_does_not_keep_the_segment_from_being_sealed") {
  Segment made = create(4096);
  Segment reader = attach(Access::read_only);
  REQUIRE(reader.participant());
  const auto sealed = made.seal();
  if (!sealed) FAIL(sealed.error().to_string());
  CHECK(reader.verify());
  CHECK(attach(Access::read_only).participant().error().code() == Code::failed_precondition);
}

TEST_CASE_METHOD(Suite, "a_forked_child_joins_as_a_participant_of_its_own") {
  STRATA_NEEDS_CHILDREN();
  Segment made = create(4096);
  const Participant* const parent = made.participant().value();
  for (const Access access : {Access::read_write, Access::read_only}) {
    // With the parent a participant before the fork, and without.
    Segment shared = access == Access::read_write ? made.share() : attach(access);
    auto* const token = reinterpret_cast<std::atomic<std::uint32_t>*>(
        fixture->os().mmap({.bytes = kPageBytes, .flags = MAP_SHARED | MAP_ANONYMOUS}).value());
    const pid_t child = test::start_child([&] {
      const auto joined = shared.participant();
      if (!joined) return 1;
      if ((*joined)->token() == parent->token() || (*joined)->token() == 0) return 2;
      if (!(*joined)->is_alive((*joined)->token()).value()) return 3;
      token->store((*joined)->token());
      while (true)
        pause();
    });
    while (token->load() == 0 && waitpid(child, nullptr, WNOHANG) == 0)
      usleep(1000);
    REQUIRE(token->load() != 0);
    CHECK(parent->is_alive(*token).value());
    test::kill_child(child);
    // The child's own file went with it, though the parent still has what they shared.
    CHECK(!parent->is_alive(*token).value());
    CHECK(made.participant().value() == parent);
  }
}

TEST_CASE_METHOD(Suite, "a_segment_has_a_lock_of_its_own_that_all_who_write_share") {
  Segment made = create(4096);
  Segment other = attach(Access::read_write);
  RobustMutex& mine = *made.mutex().value();
  RobustMutex& theirs = *other.mutex().value();
  const SyncContext me = made.sync_context().value();
  const SyncContext they = other.sync_context().value();
  REQUIRE(mine.try_lock(me).value() == Acquired::clean);
  CHECK(theirs.try_lock(they).error().code() == Code::timed_out);
  CHECK(theirs.holder(they)->pid == static_cast<std::uint32_t>(getpid()));
  REQUIRE(mine.unlock(me));
  CHECK(theirs.try_lock(they).value() == Acquired::clean);
  REQUIRE(theirs.unlock(they));
}

TEST_CASE_METHOD(Suite, "the_lock_of_a_segment_outlives_a_holder_that_is_killed") {
  STRATA_NEEDS_CHILDREN();
  Segment made = create(4096);
  const int status = test::in_child([&] {
    const auto context = made.sync_context();
    if (!context || !(*made.mutex())->try_lock(*context)) return 1;
    raise(SIGKILL);
    return 2;
  });
  REQUIRE(test::was_killed(status));
  RobustMutex& mutex = *made.mutex().value();
  const SyncContext context = made.sync_context().value();
  REQUIRE(mutex.try_lock(context).value() == Acquired::owner_died);
  REQUIRE(mutex.mark_repaired(context));
  REQUIRE(mutex.unlock(context));
  CHECK(mutex.try_lock(context).value() == Acquired::clean);
}

TEST_CASE_METHOD(Suite, "who_does_not_write_to_a_segment_does_not_get_its_lock") {
  Segment made = create(4096);
  CHECK(attach(Access::read_only).mutex().error().code() == Code::permission_denied);
  REQUIRE(made.seal());
  CHECK(made.mutex().error().code() == Code::failed_precondition);
}

TEST_CASE_METHOD(Suite, "an_attachment_ends_with_the_last_that_shares_it") {
  CreateOptions options;
  options.lifetime = Lifetime::until_removed;
  std::optional<Segment> made(create(4096, options));
  fill(*made, 9);
  std::optional<Segment> shared(made->share());
  std::optional<SyncContext> context(made->sync_context().value());
  made.reset();
  CHECK(holds(*shared, 9));
  shared.reset();
  // What locks need is still there.
  CHECK(context->owner().is_alive(context->token()).value());
  const Segment other = attach(Access::read_only);
  if (fixture->has_names()) CHECK(backend.stat(uri())->is_attached_for_writing);
  context.reset();
  if (fixture->has_names()) CHECK(!backend.stat(uri())->is_attached_for_writing);
  CHECK(holds(other, 9));
}

TEST_CASE_METHOD(Suite, "what_a_backend_cannot_do_is_unsupported_and_says_why") {
  CreateOptions options;
  if (backend.capabilities().has(Capability::grow)) options.max_bytes = 8192;
  Segment made = create(4096, options);
  const Capabilities& can = made.capabilities();
  for (std::size_t i = 0; i < kCapabilityCount; ++i) {
    const auto capability = static_cast<Capability>(i);
    CHECK(can.has(capability) == can.require(capability).has_value());
    if (!can.has(capability)) CHECK(can.require(capability).error().code() == Code::unsupported);
  }
  CHECK(made.device_bytes().has_value() == can.has(Capability::device_bytes));
  CHECK(made.persist(0, 1).has_value() == can.has(Capability::persist));
  CHECK(made.grow(8192).has_value() == can.has(Capability::grow));
  CHECK(made.migrate(on_node(0)).has_value() == can.has(Capability::migrate));
  const auto placed =
      backend.create(uri("placed"), {.payload_bytes = 4096, .placement = on_node(0), .job_id = {}});
  CHECK(placed.has_value() == can.has(Capability::placement));
  if (!placed) CHECK(placed.error().code() == Code::unsupported);
}

TEST_CASE_METHOD(Suite, "persist_works_or_says_that_memory_is_volatile") {
  Segment made = create(10'000);
  const auto persisted = made.persist(100, 5000);
  if (made.durability().is_volatile()) {
    REQUIRE(!persisted);
    CHECK(persisted.error().code() == Code::unsupported);
  } else {
    CHECK(persisted);
    CHECK(made.persist(9'999, 2).error().code() == Code::invalid_argument);
    CHECK(made.persist(~0ull, 1).error().code() == Code::invalid_argument);
  }
}
