#include <algorithm>

#include "gpu/descriptor_exchange.h"
#include "gpu/peer_conversation.h"
#include "gpu/peer_table.h"

namespace strata::inline v0_1::cuda {
namespace {

constexpr std::size_t kMostAtOnce = 64;

class Requests {
 public:
  Requests(Os& os, PeerOp op, const SegmentUuid& uuid)
      : os_(os), question_(make_question(op, uuid, 0)) {}

  // Those that cannot be asked are gone, or not ours to ask.
  void begin(const PeerDirectory& directory, const std::string& entry) {
    auto begun = PeerConversation::begin(os_, directory, entry, question_);
    if (begun) open_.push_back(std::move(*begun));
  }
  std::size_t open() const { return open_.size(); }
  std::uint64_t done() const { return done_; }

  // False where nothing was heard until the deadline.
  Result<bool> hear(Deadline deadline) {
    std::vector<int> sockets;
    for (const PeerConversation& conversation : open_)
      sockets.push_back(conversation.socket());
    STRATA_ASSIGN(const auto ready, os_.wait_any_readable(sockets, deadline));
    for (auto index = ready.rbegin(); index != ready.rend(); ++index) {
      PeerConversation& conversation = open_[*index];
      const auto progress = conversation.hear(os_);
      if (progress && *progress == PeerConversation::Progress::waits) continue;
      const bool is_done = progress && *progress == PeerConversation::Progress::answered &&
                           conversation.outcome() == PeerOutcome::done;
      done_ += is_done ? 1 : 0;
      open_.erase(open_.begin() + static_cast<std::ptrdiff_t>(*index));
    }
    return !ready.empty();
  }

 private:
  Os& os_;
  PeerQuestion question_;
  std::vector<PeerConversation> open_;
  std::uint64_t done_ = 0;
};

bool is_meant(Os& os, const PeerDirectory& directory, const std::string& entry, PeerOp op) {
  if (op != PeerOp::leave) return true;
  return consumer_of(os, directory, entry).role == PeerRole::holder;
}

Result<std::uint64_t> request(Os& os, const PeerPlace& place, const SegmentUuid& uuid, PeerOp op,
                              Deadline deadline) {
  STRATA_ASSIGN(const auto directory, open_if_there(os, place));
  if (!directory) return 0;
  STRATA_ASSIGN(const auto entries, entries_of(*directory, entry_beginning(uuid)));
  Requests requests(os, op, uuid);
  for (const std::string& entry : entries) {
    if (is_meant(os, *directory, entry, op)) requests.begin(*directory, entry);
    while (requests.open() == kMostAtOnce) {
      STRATA_ASSIGN(const bool has_heard, requests.hear(deadline));
      if (!has_heard) return requests.done();
    }
  }
  while (requests.open() > 0) {
    STRATA_ASSIGN(const bool has_heard, requests.hear(deadline));
    if (!has_heard) break;
  }
  return requests.done();
}

}  // namespace

Result<std::uint64_t> ask_to_leave(Os& os, const PeerPlace& place, const SegmentUuid& uuid,
                                   Deadline deadline) {
  return request(os, place, uuid, PeerOp::leave, deadline);
}

Result<std::uint64_t> ask_to_release(Os& os, const PeerPlace& place, const SegmentUuid& uuid,
                                     Deadline deadline) {
  return request(os, place, uuid, PeerOp::release, deadline);
}

}  // namespace strata::inline v0_1::cuda
