#include "examples/demo/shares.h"

#include <algorithm>
#include <new>

#include "segment/lease.h"

namespace demo {

using strata::Result;

Result<strata::Segment> create_work(strata::Catalog& catalog, const std::string& uri,
                                    std::span<const std::string_view> texts,
                                    std::size_t share_bytes) {
  std::size_t count = 0;
  for (const std::string_view text : texts)
    count += (text.size() + share_bytes - 1) / share_bytes;
  STRATA_ASSIGN(strata::Segment segment,
                catalog.create(uri, {.payload_bytes = sizeof(Work) + count * sizeof(Share),
                                     .publish = strata::Publish::by_creator,
                                     .lifetime = strata::Lifetime::process}));
  STRATA_ASSIGN(const std::span<std::byte> bytes, segment.writable_bytes());
  auto* const work = new (bytes.data()) Work{};
  work->share_count = static_cast<std::uint32_t>(count);
  Share* share = work->shares().data();
  for (std::size_t i = 0; i < texts.size(); ++i) {
    for (std::size_t from = 0; from < texts[i].size(); from += share_bytes) {
      new (share) Share{};
      share->text = static_cast<std::uint32_t>(i);
      share->offset_bytes = from;
      share->bytes = std::min(share_bytes, texts[i].size() - from);
      ++share;
    }
  }
  STRATA_TRY(segment.publish());
  return segment;
}

Result<Work*> work_of(strata::Segment& segment) {
  STRATA_ASSIGN(const std::span<std::byte> bytes, segment.writable_bytes());
  auto* const work = reinterpret_cast<Work*>(bytes.data());
  if (bytes.size() < sizeof(Work) ||
      work->share_count > (bytes.size() - sizeof(Work)) / sizeof(Share)) {
    return strata::fail(strata::Code::corrupt, "the shares are not within their segment");
  }
  return work;
}

Result<Share*> take_share(Work& work, const strata::Participant& self) {
  for (Share& share : work.shares()) {
    std::uint32_t nobody = 0;
    if (share.owner.compare_exchange_strong(nobody, self.token())) return &share;
  }
  for (Share& share : work.shares()) {
    std::uint32_t owner = share.owner.load();
    if (share.is_done.load() != 0 || owner == self.token()) continue;
    STRATA_ASSIGN(const bool is_alive, self.is_alive(owner));
    // Many may see the death; one gets the share.
    if (!is_alive && share.is_done.load() == 0 &&
        share.owner.compare_exchange_strong(owner, self.token())) {
      share.taken_from.store(owner);
      return &share;
    }
  }
  return nullptr;
}

void finish_share(Work& work, Share& share, const Tally& result) {
  share.result = result;
  share.is_done.store(1);
  work.shares_done.fetch_add(1);
}

}  // namespace demo
