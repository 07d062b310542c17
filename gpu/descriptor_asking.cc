#include "gpu/descriptor_asking.h"

#include <fmt/format.h>

#include <algorithm>
#include <random>

#include "gpu/peer_table.h"

namespace strata::inline v0_1::cuda {
namespace {

constexpr std::uint64_t kWidenNs = 5'000'000;    // of silence, then twice as many are asked
constexpr std::size_t kMaxWidth = 64;            // sockets at once
constexpr std::uint64_t kPatienceMs = 100;       // for one peer, where others wait in line
constexpr std::uint64_t kRoundNs = 100'000'000;  // then it looks who has come
constexpr std::uint64_t kFirstRestNs = 200'000;  // after a round that found nobody to wait for
constexpr std::uint64_t kLongestRestNs = 20'000'000;
constexpr std::uint64_t kAnnouncingMs = 3000;  // for peers that only say that they will have it
constexpr std::size_t kMaxBurials = 16;        // an attach is not there to clean up

}  // namespace

Result<Fd> DescriptorAsking::ask(Deadline deadline) {
  while (true) {
    // First: of two who look at each other while they have nothing, one sees the other so.
    if (own_ != nullptr && asked_.empty()) own_->show_idle();
    const std::size_t known = dismissed_.size();
    STRATA_TRY(look_around());
    if (!is_there_hope()) {
      // Who died between the listing and the look may have handed it on, to one who came too late
      // to be listed. Where nobody did, whoever had it at the listing would have been seen.
      if (dismissed_.size() != known && !deadline.expired()) continue;
      bury_the_dead();
      return unexpected(why_nobody_can());
    }
    STRATA_ASSIGN(std::optional<Fd> came, go_round(deadline));
    if (came) {
      asked_.clear();
      bury_the_dead();
      return std::move(*came);
    }
    if (deadline.expired()) return unexpected(why_nobody_did());
  }
}

Result<void> DescriptorAsking::look_around() {
  announced_.clear();
  idle_.clear();
  silent_.clear();
  waiting_.clear();
  auto opened = PeerDirectory::open(os_, place_);
  if (!opened && opened.error().code() != Code::not_found) return unexpected(opened.error());
  directory_ = opened ? std::move(*opened) : nullptr;
  if (!directory_) return {};
  STRATA_ASSIGN(const auto names, directory_->list());
  const std::string beginning = entry_beginning(request_.uuid);
  // Sorted: all names of an entry stand together, that of its socket last.
  for (auto name = std::lower_bound(names.begin(), names.end(), beginning);
       name != names.end() && name->starts_with(beginning);) {
    const auto entry = entry_of(*name);
    bool has_socket = false;
    const auto next = std::find_if(name, names.end(), [&](const std::string& other) {
      const bool is_same = entry && other.starts_with(*entry);
      has_socket |= is_same && other.ends_with(kSocketEnding);
      return !is_same;
    });
    if (entry) STRATA_TRY(meet(*entry, has_socket));
    name = entry ? next : name + 1;
  }
  thread_local std::minstd_rand random(std::random_device{}());
  std::shuffle(waiting_.begin(), waiting_.end(), random);
  return {};
}

Result<void> DescriptorAsking::meet(const std::string& entry, bool has_socket) {
  const bool is_asked = std::any_of(asked_.begin(), asked_.end(), [&](const Asked& asked) {
    return asked.conversation.entry() == entry;
  });
  const bool is_own = own_ != nullptr && entry == own_->name();
  if (is_own || dismissed_.contains(entry) || is_asked) return {};
  if (has_socket) {
    waiting_.push_back(entry);
    return {};
  }
  STRATA_ASSIGN(const PeerLife life, directory_->life_of(entry));
  switch (life) {
    case PeerLife::alive: announced_.insert(entry); break;
    case PeerLife::idle: idle_.insert(entry); break;
    case PeerLife::dead:
      dismiss(entry);
      dead_.insert(entry);
      break;
  }
  return {};
}

bool DescriptorAsking::is_there_hope() {
  if (!waiting_.empty() || !asked_.empty()) {
    end_of_announcing_.reset();
    return true;
  }
  // Those who are idle have nothing, and nobody is left who could give them something.
  if (announced_.empty()) return false;
  // They may never get it: stopped, or a child of one who was asking when it forked.
  if (!end_of_announcing_) end_of_announcing_ = Deadline::after_ms(kAnnouncingMs);
  return !end_of_announcing_->expired();
}

Result<std::optional<Fd>> DescriptorAsking::go_round(Deadline deadline) {
  const Deadline round = deadline.slice(kRoundNs);
  has_heard_ = false;
  while (true) {
    STRATA_TRY(ask_more());
    if (asked_.empty()) break;
    STRATA_ASSIGN(std::optional<Fd> came, hear_some(deadline));
    if (came) return came;
    if (deadline.expired() || (round.expired() && waiting_.empty())) return std::nullopt;
  }
  // All have hung up, or will have it in a moment: whoever dies or comes is seen in the next round.
  if (!has_heard_) {
    rest_ns_ = std::clamp(rest_ns_ * 2, kFirstRestNs, kLongestRestNs);
    os_.sleep_ns(std::min(rest_ns_, deadline.remaining_ns()));
  }
  return std::nullopt;
}

Result<void> DescriptorAsking::ask_more() {
  // Before the first connection: from then on an answer may be on its way.
  if (own_ != nullptr && !waiting_.empty()) STRATA_TRY(own_->show_asking());
  while (!waiting_.empty() && asked_.size() < width_) {
    const std::string entry = std::move(waiting_.back());
    waiting_.pop_back();
    STRATA_TRY(ask_one(entry));
  }
  return {};
}

Result<void> DescriptorAsking::ask_one(const std::string& entry) {
  auto begun = PeerConversation::begin(
      os_, *directory_, entry, make_question(PeerOp::give, request_.uuid, request_.generation));
  if (begun) {
    asked_.push_back({std::move(*begun), Deadline::after_ms(kPatienceMs)});
    return {};
  }
  switch (begun.error().code()) {
    case Code::not_ready: silent_.insert(entry); return {};
    case Code::permission_denied:
      dismiss(entry);
      refusal_ = begun.error();
      return {};
    case Code::not_found: break;
    default: return unexpected(begun.error());
  }
  STRATA_ASSIGN(const bool is_alive, directory_->is_alive(entry));
  if (is_alive) {
    silent_.insert(entry);  // it is about to leave
  } else {
    has_heard_ = true;
    dismiss(entry);
    dead_.insert(entry);
  }
  return {};
}

Result<std::optional<Fd>> DescriptorAsking::hear_some(Deadline deadline) {
  std::vector<int> sockets;
  for (const Asked& asked : asked_)
    sockets.push_back(asked.conversation.socket());
  STRATA_ASSIGN(const auto ready, os_.wait_any_readable(sockets, deadline.slice(kWidenNs)));
  if (ready.empty()) widen();
  // From the last one on, so that the places of the others stay theirs.
  for (auto index = ready.rbegin(); index != ready.rend(); ++index) {
    STRATA_ASSIGN(std::optional<Fd> heard, hear_one(asked_[*index]));
    if (!heard) continue;
    if (*heard) return heard;
    asked_.erase(asked_.begin() + static_cast<std::ptrdiff_t>(*index));
  }
  return std::nullopt;
}

Result<std::optional<Fd>> DescriptorAsking::hear_one(Asked& asked) {
  const std::string& entry = asked.conversation.entry();
  const auto progress = asked.conversation.hear(os_);
  if (!progress) {
    if (progress.error().code() != Code::corrupt) return unexpected(progress.error());
    refusal_ = progress.error();
    dismiss(entry);
    return Fd();
  }
  switch (*progress) {
    case PeerConversation::Progress::waits: return std::nullopt;
    case PeerConversation::Progress::closed: silent_.insert(entry); return Fd();
    case PeerConversation::Progress::answered: break;
  }
  has_heard_ = true;
  dismiss(entry);
  return take(asked);
}

Fd DescriptorAsking::take(Asked& asked) {
  if (asked.conversation.outcome() == PeerOutcome::stale)
    other_generation_ = asked.conversation.generation();
  Fd fd = asked.conversation.take_descriptor();
  if (!fd || !request_.check) return fd;
  if (const auto checked = request_.check(fd.get()); !checked) {
    refusal_ = checked.error();
    return {};
  }
  return fd;
}

void DescriptorAsking::widen() {
  width_ = std::min(2 * width_, kMaxWidth);
  if (asked_.size() < width_ || waiting_.empty()) return;
  // They are asked again when all others have been.
  std::erase_if(asked_, [&](const Asked& asked) {
    if (!asked.patience.expired()) return false;
    silent_.insert(asked.conversation.entry());
    return true;
  });
}

void DescriptorAsking::bury_the_dead() {
  std::size_t count = 0;
  for (const std::string& entry : dead_) {
    if (!directory_ || ++count > kMaxBurials) break;
    (void)directory_->remove_entry(entry);
  }
  if (count > 0 && directory_) directory_->remove_if_empty();
}

Status DescriptorAsking::why_nobody_can() const {
  if (other_generation_) {
    return Status(Code::failed_precondition,
                  fmt::format("its memory is there with generation {}, and generation {} is asked "
                              "for: attach it anew",
                              *other_generation_, request_.generation));
  }
  if (refusal_) return *refusal_;
  std::string text = "nobody who is alive has its memory";
  if (!dead_.empty()) text += fmt::format(" ({} of the dead had)", dead_.size());
  return Status(Code::not_found, text);
}

Status DescriptorAsking::why_nobody_did() const {
  std::set<std::string> silent = silent_;
  silent.insert(announced_.begin(), announced_.end());
  silent.insert(idle_.begin(), idle_.end());
  silent.insert(waiting_.begin(), waiting_.end());
  for (const Asked& asked : asked_)
    silent.insert(asked.conversation.entry());
  std::vector<Consumer> peers;
  for (const std::string& entry : silent) {
    if (directory_) peers.push_back(consumer_of(os_, *directory_, entry));
  }
  return Status(Code::timed_out,
                fmt::format("nobody handed its memory on in time; silent: {}", describe(peers)));
}

Result<Fd> ask_for_descriptor(Os& os, const PeerPlace& place, const DescriptorRequest& request,
                              Deadline deadline) {
  return DescriptorAsking(os, place, request).ask(deadline);
}

}  // namespace strata::inline v0_1::cuda
