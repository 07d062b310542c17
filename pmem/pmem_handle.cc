// PmemBackend's handles: a pool segment travels by its URI, and means one version of it.
#include <fmt/format.h>

#include "pmem/pmem_backend.h"
#include "pmem/pool_access.h"
#include "segment/attachment.h"
#include "segment/handle_check.h"
#include "strata/pmem/pool.h"

namespace strata::inline v0_1 {
namespace {

// What stands in the header of a located segment.
Result<HandleFinding> find(Os& os, const LocatedSegment& located) {
  alignas(HeaderPage) std::array<std::byte, kHeaderBytes> bytes{};
  STRATA_ASSIGN(const std::size_t got,
                os.pread(located.file.fd.get(), bytes, located.found.entry.header_offset_bytes));
  STRATA_ASSIGN(const IdentityBlock identity, read_identity_block(std::span(bytes).first(got)));
  const auto* page = reinterpret_cast<const HeaderPage*>(bytes.data());
  return HandleFinding{identity, page->live.generation.value.load(std::memory_order_relaxed),
                       page->live.payload_bytes.value.load(std::memory_order_relaxed)};
}

}  // namespace

Result<Segment> PmemBackend::do_attach_handle(const Handle& handle, std::vector<Fd>,
                                              const AttachOptions& options) {
  const Deadline deadline = Deadline::after_ms(options.timeout_ms);
  STRATA_TRY(
      check_handle(handle, {.kind = SegmentKind::pmem, .outlives_boot = true}, os_, options));
  STRATA_ASSIGN(const SegmentUri uri, uri_of(handle));
  // Compared before attaching: the first writer begins a new generation itself. Until then this
  // lease keeps the slot from becoming another segment.
  STRATA_ASSIGN(const LocatedSegment meant,
                Pool::at(os_, uri.container).locate(uri.name, 0, Access::read_only, deadline));
  STRATA_ASSIGN(const HandleFinding finding, find(os_, meant));
  STRATA_TRY(check_led_to(handle, finding));
  AttachOptions within = options;
  within.timeout_ms = deadline.remaining_ns() / 1'000'000;
  STRATA_ASSIGN(Segment attached, attach(uri, within));
  const LockRange range = attachment_of(attached).plane->lock_range();
  if (range.base_bytes != meant.file.lock_range(meant.found.slot).base_bytes) {
    return fail(Code::failed_precondition,
                fmt::format("{} has been replaced meanwhile; ask its sender for a new handle",
                            uri.to_string()));
  }
  return attached;
}

}  // namespace strata::inline v0_1
