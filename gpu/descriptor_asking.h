// One asking for a descriptor: whom it asks, who is silent, who is dead.
//   Threads:  one.
//   Lifetime: closes whatever it opened, and every descriptor that it does not return.
//   Errors:   as ask_for_descriptor().
//   Cost:     as ask_for_descriptor(); up to 64 sockets at once.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "gpu/descriptor_exchange.h"
#include "gpu/peer_conversation.h"
#include "gpu/peer_directory.h"
#include "os/os.h"
#include "strata/base/result.h"

namespace strata::inline v0_1::cuda {

class DescriptorAsking {
 public:
  DescriptorAsking(Os& os, PeerPlace place, DescriptorRequest request)
      : os_(os), place_(std::move(place)), request_(std::move(request)) {}

  // The caller's own entry, which has nothing yet: it is passed over, and shows to others whether
  // it may have something in a moment. It outlives this.
  void show_in(PeerEntry& entry) { own_ = &entry; }
  Result<Fd> ask(Deadline deadline);

 private:
  struct Asked {
    PeerConversation conversation;
    Deadline patience;  // afterwards another may be asked in its place
  };

  Result<void> look_around();
  Result<void> meet(const std::string& entry, bool has_socket);
  // Whether anybody is left who could have it.
  bool is_there_hope();
  // Asks all who wait to be asked. None: nobody has answered yet.
  Result<std::optional<Fd>> go_round(Deadline deadline);
  Result<void> ask_more();
  Result<void> ask_one(const std::string& entry);
  Result<std::optional<Fd>> hear_some(Deadline deadline);
  // None where it is not over with this one; an empty Fd where it has given nothing.
  Result<std::optional<Fd>> hear_one(Asked& asked);
  Fd take(Asked& asked);
  void widen();
  void dismiss(const std::string& entry) { dismissed_.insert(entry); }
  void bury_the_dead();
  Status why_nobody_can() const;
  Status why_nobody_did() const;

  Os& os_;
  PeerPlace place_;
  DescriptorRequest request_;
  PeerEntry* own_ = nullptr;
  std::shared_ptr<PeerDirectory> directory_;  // as it was found last; null: there is none
  std::vector<std::string> waiting_;          // to be asked in this round, in random order
  std::vector<Asked> asked_;
  std::set<std::string> announced_;  // alive, without a socket yet, and perhaps with a descriptor
  std::set<std::string> idle_;       // alive, and without either: they wait as this one does
  std::set<std::string> silent_;     // alive, and took no question or gave no answer at last
  std::set<std::string> dismissed_;  // have said their last: not asked again
  std::set<std::string> dead_;       // of those
  std::size_t width_ = 2;            // how many are asked at once
  std::uint64_t rest_ns_ = 0;        // before the next round
  std::optional<Deadline> end_of_announcing_;
  bool has_heard_ = false;  // in this round
  std::optional<std::uint64_t> other_generation_;
  std::optional<Status> refusal_;  // of an answer, or of the descriptor in it
};

}  // namespace strata::inline v0_1::cuda
