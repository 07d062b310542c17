// Shared segments that an earlier program left in each state; docs/format/header.md is the text of
// the same contract.
#include "tests/catch.h"
#include "tests/format/golden_segment.h"
#include "tests/format/golden_text.h"

using namespace strata;
using namespace strata::golden;

namespace {

std::string text_of(const Segment& segment) {
  const auto bytes = segment.host_bytes().value();
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

ReclaimDecision judged(GoldenSegments& segments) {
  const auto decisions = segments.backend().reclaim({}, {.dry_run = true}).value();
  REQUIRE(decisions.size() == 1);
  return decisions[0];
}

std::span<const std::byte> page_of(const Segment& segment) {
  return std::as_bytes(std::span(&header_page_of(segment), 1));
}

}  // namespace

TEST_CASE("a_ready_segment_of_an_earlier_program_is_attached_and_written") {
  GoldenSegments segments;
  Segment segment = segments.attach("segment_ready_v1.bin", "golden-ready");
  CHECK(segment.state() == SegmentState::ready);
  CHECK(segment.payload_bytes() == kGrownBytes);
  CHECK(segment.identity().created_payload_bytes == kCreatedBytes);
  CHECK(segment.max_bytes() == kGrownBytes);
  CHECK(segment.identity().lifetime == static_cast<std::uint32_t>(Lifetime::job));
  CHECK(padded_text(segment.identity().job_id) == "slurm-42");
  CHECK(text_of(segment) == golden_text(kGrownBytes));
  segment.writable_bytes().value()[0] = std::byte{'L'};
  REQUIRE(segment.seal());
  CHECK(segment.verify());
}

TEST_CASE("the_lock_of_a_segment_is_where_the_format_says_and_free_in_one_of_an_earlier_program") {
  GoldenSegments segments;
  Segment segment = segments.attach("segment_ready_v1.bin", "golden-ready");
  const SyncContext context = segment.sync_context().value();
  const auto page = page_of(segment);
  CHECK(number_at<std::uint64_t>(page, 3584) == 0);
  REQUIRE(segment.mutex().value()->try_lock(context).value() == Acquired::clean);
  CHECK(number_at<std::uint64_t>(page, 3584) ==
        (std::uint64_t{1} << 32 | context.token()));  // of generation 1
  CHECK(number_at<std::uint32_t>(page, 3600) == static_cast<std::uint32_t>(getpid()));
  REQUIRE(segment.mutex().value()->unlock(context));
  CHECK(number_at<std::uint64_t>(page, 3584) == std::uint64_t{1} << 32);
  for (std::size_t at = 3648; at < 4096; at += 8)
    CHECK(number_at<std::uint64_t>(page, at) == 0);
}

TEST_CASE("the_words_of_a_header_are_where_the_format_says") {
  GoldenSegments segments;
  const Segment segment =
      segments.attach("segment_ready_v1.bin", "golden-ready", Access::read_only);
  const auto page = page_of(segment);
  CHECK(number_at<std::uint32_t>(page, 40) == 1);  // shm
  CHECK(number_at<std::uint32_t>(page, 44) == 3);  // job
  CHECK(number_at<std::uint64_t>(page, 64) == kCreatedBytes);
  CHECK(number_at<std::uint64_t>(page, 72) == kGrownBytes);
  CHECK(number_at<std::uint64_t>(page, 80) == 4096);
  CHECK(number_at<std::uint32_t>(page, 1024) == 2);  // ready
  CHECK(number_at<std::uint64_t>(page, 1088) == 1);  // generation
  CHECK(number_at<std::uint64_t>(page, 1152) == kGrownBytes);
  // What placement got: an even sequence, and three pages in all.
  CHECK(number_at<std::uint64_t>(page, 2048) % 2 == 0);
  CHECK(number_at<std::uint64_t>(page, 2048) > 0);
  CHECK(number_at<std::uint64_t>(page, 2056) == 3);
}

TEST_CASE("a_segment_that_an_earlier_program_sealed_verifies_and_stays_as_it_is") {
  GoldenSegments segments;
  Segment segment = segments.attach("segment_sealed_v1.bin", "golden-sealed", Access::read_only);
  CHECK(segment.state() == SegmentState::sealed);
  CHECK(segment.verify());
  CHECK(text_of(segment) == golden_text(kCreatedBytes));
  CHECK(!segment.writable_bytes());
  const SealBlock seal = read_seal_block(header_page_of(segment)).value();
  CHECK(seal.sealed_bytes == kCreatedBytes);
  CHECK(number_at<std::uint64_t>(page_of(segment), 1536) == kCreatedBytes);
  CHECK(number_at<std::uint32_t>(page_of(segment), 1560) == 1);
}

TEST_CASE("a_sealed_segment_of_an_earlier_program_that_was_changed_is_found_out") {
  GoldenSegments segments;
  const SegmentUri uri = segments.place("segment_sealed_v1.bin", "golden-sealed");
  segments.overwrite(uri, kHeaderBytes + 100, std::byte{'x'});
  const Segment segment = segments.backend().attach(uri, {.access = Access::read_only}).value();
  CHECK(segment.verify().error().code() == Code::corrupt);
}

TEST_CASE("a_segment_that_an_earlier_program_never_published_is_not_ready_and_an_orphan") {
  GoldenSegments segments;
  const SegmentUri uri = segments.place("segment_initialising_v1.bin", "golden-initialising");
  CHECK(segments.backend().attach(uri, {.timeout_ms = 1}).error().code() == Code::not_ready);
  CHECK(judged(segments).is_orphan);
  CHECK(segments.backend().reclaim({}, {}).value()[0].was_reclaimed);
}

TEST_CASE("a_segment_whose_removal_an_earlier_program_began_is_gone_and_an_orphan") {
  GoldenSegments segments;
  const SegmentUri uri = segments.place("segment_retired_v1.bin", "golden-retired");
  CHECK(segments.backend().attach(uri, {}).error().code() == Code::not_found);
  CHECK(judged(segments).is_orphan);
  CHECK(segments.backend().reclaim({}, {}).value()[0].was_reclaimed);
}
