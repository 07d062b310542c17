#include "gpu/peer_conversation.h"

#include <fmt/format.h>

#include <cerrno>

namespace strata::inline v0_1::cuda {
namespace {

bool is_hung_up(const Status& status) {
  return status.sys_errno() == EPIPE || status.sys_errno() == ECONNRESET;
}

}  // namespace

Result<PeerConversation> PeerConversation::begin(Os& os, const PeerDirectory& directory,
                                                 std::string entry, const PeerQuestion& question) {
  auto socket = directory.connect(entry);
  if (!socket) {
    if (socket.error().sys_errno() == ECONNREFUSED)
      return fail(Code::not_found, "nobody listens any more");
    return unexpected(socket.error());
  }
  STRATA_ASSIGN(const PeerCredentials peer, os.peer_credentials(socket->get()));
  if (peer.uid != directory.owner() && peer.uid != 0) {
    return fail(Code::permission_denied, fmt::format("a peer runs as uid {}, and not as uid {}",
                                                     peer.uid, directory.owner()));
  }
  const auto sent = os.send_message(socket->get(), std::as_bytes(std::span(&question, 1)), {});
  if (!sent && is_hung_up(sent.error())) return fail(Code::not_ready, "it hung up");
  if (!sent) return unexpected(sent.error());
  if (*sent != sizeof question) return fail(Code::not_ready, "it takes no whole question");
  return PeerConversation(std::move(entry), std::move(*socket), question.uuid);
}

Result<PeerConversation::Progress> PeerConversation::hear(Os& os) {
  const std::span answer = std::as_writable_bytes(std::span(&answer_, 1));
  auto came = os.receive_message(socket_.get(), answer.subspan(answer_bytes_), 1);
  if (!came) {
    if (came.error().code() == Code::not_ready) return Progress::waits;
    if (is_hung_up(came.error())) return Progress::closed;
    return unexpected(came.error());
  }
  if (came->bytes == 0) {
    if (answer_bytes_ == 0) return Progress::closed;
    return fail(Code::corrupt, "a peer hung up amid its answer");
  }
  answer_bytes_ += came->bytes;
  if (!came->fds.empty()) {
    if (descriptor_) return fail(Code::corrupt, "a peer sent two descriptors");
    descriptor_ = std::move(came->fds.front());
  }
  return answer_bytes_ == sizeof answer_ ? judge() : Progress::waits;
}

Result<PeerConversation::Progress> PeerConversation::judge() {
  const auto outcome = outcome_of(answer_, uuid_);
  if (!outcome) return fail(Code::corrupt, "a peer answered what is no answer");
  if ((*outcome == PeerOutcome::given) != static_cast<bool>(descriptor_))
    return fail(Code::corrupt, "a peer's answer and the descriptor with it do not go together");
  outcome_ = *outcome;
  return Progress::answered;
}

}  // namespace strata::inline v0_1::cuda
