// One question to one peer of the exchange, and its answer.
//   Threads:  one.
//   Lifetime: closes the socket, and the descriptor that came and was not taken.
//   Errors:   see each function. Nothing here waits.
//   Cost:     begin: five system calls.
#pragma once

#include <cstdint>
#include <string>

#include "gpu/peer_directory.h"
#include "gpu/peer_protocol.h"
#include "os/os.h"
#include "strata/base/result.h"

namespace strata::inline v0_1::cuda {

class PeerConversation {
 public:
  enum class Progress : std::uint8_t {
    waits,
    answered,
    closed,  // without an answer: it died, or had too much to do
  };

  // Connects to a peer that runs as `owner` or as root, and sends it the question.
  // Errors: not_found where nobody listens; not_ready where it takes nobody now; permission_denied
  // where it is another user's; others are this process's own trouble.
  static Result<PeerConversation> begin(Os& os, const PeerDirectory& directory, std::string entry,
                                        const PeerQuestion& question);

  // Takes what is there. Errors: corrupt for what is no answer; exhausted where this process can
  // take no descriptor.
  Result<Progress> hear(Os& os);

  const std::string& entry() const { return entry_; }
  int socket() const { return socket_.get(); }
  PeerOutcome outcome() const { return outcome_; }
  std::uint64_t generation() const { return answer_.generation; }
  // Only of the outcome `given`.
  Fd take_descriptor() { return std::move(descriptor_); }

 private:
  PeerConversation(std::string entry, Fd socket, const SegmentUuid& uuid)
      : entry_(std::move(entry)), socket_(std::move(socket)), uuid_(uuid) {}
  Result<Progress> judge();

  std::string entry_;
  Fd socket_;
  SegmentUuid uuid_;
  PeerAnswer answer_{};
  std::size_t answer_bytes_ = 0;  // that have come
  Fd descriptor_;
  PeerOutcome outcome_ = PeerOutcome::refused;
};

}  // namespace strata::inline v0_1::cuda
