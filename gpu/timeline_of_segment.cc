// Where timelines and segments meet: the page in the header's file, the participants of the header.
#include <fmt/format.h>

#include <cstring>
#include <utility>

#include "gpu/cuda_payload.h"
#include "gpu/export_block.h"
#include "gpu/timeline_mapping.h"
#include "gpu/timeline_stat.h"
#include "segment/named_files.h"
#include "strata/gpu/timeline.h"
#include "strata/os/real_os.h"

namespace strata::inline v0_1::cuda {
namespace {

// A process that takes part in a segment's timeline and has none of its memory. It has no lease:
// whoever keeps no memory alive must not look as if it did.
class HeaderParticipant {
 public:
  HeaderParticipant(Os& os, Fd file) : os_(os), plane_(os, std::move(file), Access::read_only) {}
  ~HeaderParticipant() {
    if (page_) (void)os_.munmap(page_, kHeaderBytes);
  }
  HeaderParticipant(const HeaderParticipant&) = delete;
  HeaderParticipant& operator=(const HeaderParticipant&) = delete;

  Result<const Participant*> join(const SegmentUri& uri) {
    STRATA_ASSIGN(const struct stat stat, os_.fstat(plane_.fd()));
    if (static_cast<std::uint64_t>(stat.st_size) < kDeviceHeaderFileBytes)
      return fail(Code::corrupt, fmt::format("its header file has {} bytes", stat.st_size));
    STRATA_ASSIGN(page_,
                  os_.mmap({.bytes = kHeaderBytes, .protection = PROT_READ, .fd = plane_.fd()}));
    plane_.use_page(page_);
    STRATA_TRY(plane_.identify(uri));
    if (plane_.state() == SegmentState::retired) return fail(Code::not_found, "it was removed");
    return plane_.participant();
  }
  int fd() const { return plane_.fd(); }

 private:
  Os& os_;
  std::byte* page_ = nullptr;
  HeaderPlane plane_;
};

Result<TimelineParts> parts_of_header(Os& os, const std::string& directory, const SegmentUri& uri) {
  const NamedFiles files(os, {.scheme = "cuda", .directory = directory, .prefix = "strata-cuda"});
  STRATA_ASSIGN(Fd file, files.open(uri.name, Access::read_only));
  const auto header = std::make_shared<HeaderParticipant>(os, std::move(file));
  STRATA_ASSIGN(const Participant* const self, header->join(uri));
  return TimelineParts{.os = &os,
                       .fd = header->fd(),
                       .offset_bytes = kTimelineOffsetBytes,
                       .owner = std::shared_ptr<const Owner>(header, self),
                       .name = uri.to_string()};
}

}  // namespace

Result<Timeline> Timeline::open(Segment& segment) {
  STRATA_ASSIGN(const CudaPayload* const payload, CudaPayload::of(segment));
  STRATA_ASSIGN(const Participant* const self, segment.participant());
  const auto kept = std::make_shared<Segment>(segment.share());
  return open(TimelineParts{.os = &payload->plane().os(),
                            .fd = payload->plane().fd(),
                            .offset_bytes = kTimelineOffsetBytes,
                            .owner = std::shared_ptr<const Owner>(kept, self),
                            .device = &payload->device(),
                            .name = segment.uri().to_string()});
}

Result<Timeline> Timeline::open_on_host(const SegmentUri& uri, const std::string& directory) {
  return open_on_host(real_os(), directory, uri);
}

Result<Timeline> Timeline::open_on_host(Os& os, const std::string& directory,
                                        const SegmentUri& uri) {
  auto parts = parts_of_header(os, directory, uri);
  if (parts) return open(*std::move(parts));
  return unexpected(parts.error().in("timeline of " + uri.to_string()));
}

Result<std::vector<TimelineSlotStat>> stat_timeline(Os& os, LockRange range) {
  std::array<std::byte, kTimelineBytes> bytes;
  STRATA_ASSIGN(const std::size_t got, os.pread(range.fd, bytes, kTimelineOffsetBytes));
  if (got != bytes.size()) return fail(Code::corrupt, "its header file has no timeline page");
  std::vector<TimelineSlotStat> stats;
  for (unsigned slot = 0; slot < kTimelineSlots; ++slot) {
    std::array<std::uint64_t, sizeof(TimelineSlot) / sizeof(std::uint64_t)> words;
    std::memcpy(words.data(), bytes.data() + slot * sizeof(TimelineSlot), sizeof(TimelineSlot));
    if (words[1] == 0) continue;
    const SlotClaim claim = SlotClaim::of(words[1]);
    TimelineSlotStat stat{.slot = slot,
                          .state = claim.state,
                          .epoch = claim.epoch,
                          .owner_pid = static_cast<std::uint32_t>(words[3])};
    for (const std::uint64_t value : {words[2], words[0]})
      if (is_of_epoch(value, claim.epoch)) stat.signalled = value - first_value(claim.epoch);
    if (claim.token != 0) {
      STRATA_ASSIGN(stat.is_owner_alive,
                    os.is_range_locked(range.fd, range.base_bytes + kTokenByte + claim.token, 1,
                                       LockKind::exclusive));
    }
    stats.push_back(stat);
  }
  return stats;
}

}  // namespace strata::inline v0_1::cuda
