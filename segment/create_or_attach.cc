// Catalog::create_or_attach: who comes first creates, and what is killed at it is replaced.

#include <algorithm>
#include <atomic>
#include <exception>
#include <new>

#include "segment/backend.h"
#include "strata/os/futex.h"
#include "strata/segment/catalog.h"

namespace strata::inline v0_1 {
namespace {

// A name can be taken and given away between two calls, but hardly this often in a row.
constexpr int kRoundsAtLeast = 8;
constexpr std::uint64_t kPauseNs = 100'000;

// Others may be at the same: each waits for another while, so that they fall out of step.
void pause(Deadline deadline) {
  const std::atomic<std::uint32_t> nobody_wakes{0};
  const std::uint64_t share = 1 + monotonic_ns() % 16;
  (void)futex_wait(nobody_wakes, 0, deadline.slice(share * kPauseNs));
}

Result<void> run(const Catalog::Fill& fill, Segment& segment) {
  if (!fill) return {};
  try {
    return fill(segment);
  } catch (const std::bad_alloc&) {
    return fail(Code::exhausted, "the function that fills it ran out of memory");
  } catch (const std::exception& thrown) {
    return fail(Code::internal, std::string("the function that fills it threw: ") + thrown.what());
  } catch (...) {
    return fail(Code::internal, "the function that fills it threw");
  }
}

Result<CreatedOrAttached> fill_and_publish(Backend& backend, Segment segment,
                                           const Catalog::Fill& fill) {
  Result<void> done = run(fill, segment);
  // Sealing publishes too.
  if (done && segment.state() == SegmentState::initialising) {
    const auto published = segment.publish();
    // One that was removed meanwhile is like one that is removed in a moment.
    if (!published && segment.state() != SegmentState::retired) done = published;
  }
  if (done) return CreatedOrAttached{std::move(segment), true};
  (void)backend.remove(segment.uri(), {.even_if_attached = true, .uuid = segment.identity().uuid});
  return unexpected(done.error().in("fill " + segment.uri().to_string()));
}

}  // namespace

Result<CreatedOrAttached> Catalog::create_or_attach(std::string_view text,
                                                    const CreateOptions& create_options,
                                                    const Fill& fill,
                                                    const AttachOptions& attach_options) {
  STRATA_ASSIGN(const SegmentUri uri, SegmentUri::parse(text));
  STRATA_ASSIGN(Backend* const at, backend(uri.scheme));
  const Deadline deadline = Deadline::after_ms(attach_options.timeout_ms);
  CreateOptions unpublished = create_options;
  unpublished.publish = Publish::by_creator;
  AttachOptions patient = attach_options;
  for (int round = 1;; ++round) {
    patient.timeout_ms = deadline.remaining_ns() / 1'000'000;
    auto attached = at->attach(uri, patient);
    if (attached) return CreatedOrAttached{std::move(*attached), false};
    const Code missing = attached.error().code();
    if (missing != Code::not_found && missing != Code::not_ready) {
      return unexpected(attached.error());
    }
    // Whether one that is not ready still has its creator only create() can decide, under locks: it
    // puts a new segment in the place of one that was never published, and of no other.
    auto created = at->create(uri, unpublished);
    if (created) return fill_and_publish(*at, std::move(*created), fill);
    const Code refused = created.error().code();
    // A container that others hold all the time (timed_out) is waited for as long as anything else.
    const bool is_held = refused == Code::timed_out;
    if (!is_held && refused != Code::already_exists && refused != Code::not_ready) {
      return unexpected(created.error());
    }
    const bool is_settled = is_held || missing == Code::not_ready || round >= kRoundsAtLeast;
    if (deadline.expired() && is_settled) {
      return unexpected(missing == Code::not_ready ? attached.error() : created.error());
    }
    pause(deadline);
  }
}

}  // namespace strata::inline v0_1
