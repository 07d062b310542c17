#include "gpu/peer_table.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <set>

#include "base/printable.h"
#include "strata/segment/header.h"

namespace strata::inline v0_1::cuda {
namespace {

constexpr std::string_view kDirectoryBeginning = "strata-cuda-peers.";
constexpr std::size_t kMaxNamed = 5;

// Processes of other pid namespaces cannot be looked up here, nor any where /proc is another's.
bool can_look_up(Os& os, std::uint64_t pid_namespace) {
  const auto self = os.read_link("/proc/self");
  return pid_namespace == os.identity().pid_namespace && self &&
         *self == std::to_string(os.identity().pid);
}

PeerState state_of(Os& os, const PeerDirectory& directory, const std::string& entry,
                   const Consumer& consumer) {
  // Where it cannot be asked, nothing is proven, and nobody is called dead.
  if (!directory.is_alive(entry).value_or(true)) return PeerState::dead;
  if (consumer.pid == 0 || !can_look_up(os, consumer.pid_namespace)) return PeerState::alive;
  const auto started = read_start_time(os, consumer.pid);
  return started == consumer.start_time_ticks ? PeerState::alive : PeerState::forked_away;
}

}  // namespace

Result<std::set<std::string>> entries_of(const PeerDirectory& directory,
                                         std::string_view beginning) {
  STRATA_ASSIGN(const auto names, directory.list());
  std::set<std::string> entries;
  for (const std::string& name : names) {
    if (!name.starts_with(beginning)) continue;
    if (auto entry = entry_of(name)) entries.insert(std::move(*entry));
  }
  return entries;
}

Result<std::shared_ptr<PeerDirectory>> open_if_there(Os& os, const PeerPlace& place) {
  auto opened = PeerDirectory::open(os, place);
  if (!opened && opened.error().code() == Code::not_found) return nullptr;
  return opened;
}

Result<bool> may_be_had(Os& os, const PeerPlace& place, const SegmentUuid& uuid) {
  STRATA_ASSIGN(const auto directory, open_if_there(os, place));
  if (!directory) return false;
  STRATA_ASSIGN(const auto entries, entries_of(*directory, entry_beginning(uuid)));
  for (const std::string& entry : entries) {
    STRATA_ASSIGN(const PeerLife life, directory->life_of(entry));
    if (life == PeerLife::alive) return true;
  }
  return false;
}

namespace {

Result<std::vector<Consumer>> consumers_with(Os& os, const PeerPlace& place,
                                             std::string_view beginning) {
  std::vector<Consumer> found;
  STRATA_ASSIGN(const auto directory, open_if_there(os, place));
  if (!directory) return found;
  STRATA_ASSIGN(const auto entries, entries_of(*directory, beginning));
  for (const std::string& entry : entries)
    found.push_back(consumer_of(os, *directory, entry));
  std::stable_sort(found.begin(), found.end(), [](const Consumer& a, const Consumer& b) {
    return a.since_unix_ns < b.since_unix_ns;
  });
  return found;
}

// Who has it in reach: everybody's own, and everybody's for root.
Result<std::vector<uid_t>> owners(Os& os, const std::string& directory) {
  const uid_t self = os.identity().uid;
  if (self != 0) return std::vector{self};
  std::vector<uid_t> found;
  STRATA_ASSIGN(const auto names, os.list_directory(directory));
  for (const std::string& name : names) {
    if (!name.starts_with(kDirectoryBeginning)) continue;
    uid_t owner = 0;
    const char* const end = name.data() + name.size();
    const auto parsed = std::from_chars(name.data() + kDirectoryBeginning.size(), end, owner);
    if (parsed.ec == std::errc() && parsed.ptr == end) found.push_back(owner);
  }
  return found;
}

Result<std::uint64_t> sweep_one(Os& os, const PeerPlace& place, Sweep sweep) {
  STRATA_ASSIGN(const auto directory, open_if_there(os, place));
  if (!directory) return 0;
  STRATA_ASSIGN(const auto entries, entries_of(*directory, ""));
  std::uint64_t dead = 0;
  for (const std::string& entry : entries) {
    STRATA_ASSIGN(const bool is_alive, directory->is_alive(entry));
    if (is_alive) continue;
    ++dead;
    if (sweep == Sweep::remove) STRATA_TRY(directory->remove_entry(entry));
  }
  if (sweep == Sweep::remove) directory->remove_if_empty();
  return dead;
}

}  // namespace

std::string_view peer_state_name(PeerState state) {
  switch (state) {
    case PeerState::alive: return "alive";
    case PeerState::forked_away: return "gone, but a process that it forked is there";
    case PeerState::dead: return "dead";
  }
  return "?";
}

std::string_view peer_role_name(PeerRole role) {
  return role == PeerRole::holder ? "holder" : "consumer";
}

Consumer consumer_of(Os& os, const PeerDirectory& directory, const std::string& entry) {
  Consumer consumer;
  consumer.uuid = uuid_of_entry(entry);
  consumer.command = "?";
  if (const auto record = directory.read_record(entry)) {
    consumer.pid = static_cast<pid_t>(record->pid);
    consumer.start_time_ticks = record->start_time_ticks;
    consumer.pid_namespace = record->pid_namespace;
    consumer.command = printable(padded_text(record->command));
    consumer.role = static_cast<PeerRole>(record->role);
    consumer.access = static_cast<Access>(record->access);
    consumer.since_unix_ns = record->since_unix_ns;
  }
  consumer.state = state_of(os, directory, entry, consumer);
  consumer.is_serving = os.stat(directory.path_of(entry + std::string(kSocketEnding))).has_value();
  return consumer;
}

Result<std::vector<Consumer>> consumers(Os& os, const PeerPlace& place, const SegmentUuid& uuid) {
  return consumers_with(os, place, entry_beginning(uuid));
}

Result<std::vector<Consumer>> consumers(Os& os, const PeerPlace& place) {
  return consumers_with(os, place, "");
}

std::string describe(const std::vector<Consumer>& consumers) {
  std::string text;
  std::size_t count = 0;
  for (const Consumer& consumer : consumers) {
    if (!consumer.is_alive() || ++count > kMaxNamed) continue;
    text += fmt::format("{}{}pid {} ({})", count > 1 ? ", " : "",
                        consumer.role == PeerRole::holder ? "holder " : "", consumer.pid,
                        consumer.command);
    if (consumer.state == PeerState::forked_away) text += ", or what it forked";
  }
  if (count > kMaxNamed) text += fmt::format(" and {} more", count - kMaxNamed);
  return count == 0 ? "nobody" : text;
}

Result<std::uint64_t> sweep_peers(Os& os, const std::string& directory, Sweep sweep) {
  STRATA_ASSIGN(const auto everybody, owners(os, directory));
  std::uint64_t dead = 0;
  std::optional<Status> failure;
  for (const uid_t owner : everybody) {
    const auto found = sweep_one(os, {directory, owner}, sweep);
    if (found) dead += *found;
    if (!found && !failure) failure = found.error();
  }
  if (failure) return unexpected(*failure);
  return dead;
}

}  // namespace strata::inline v0_1::cuda
