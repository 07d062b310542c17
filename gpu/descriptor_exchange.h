// Descriptors of device memory go from process to process without a daemon: whoever is attached
// serves the descriptor that it has, and whoever attaches asks several of them at once.
//
//     DescriptorServer server(os, directory);
//     STRATA_ASSIGN(auto made, server.serve({.uuid = uuid, .fd = std::move(fd)}));      // creator
//     STRATA_ASSIGN(auto attached, server.join({.uuid = uuid}, check, deadline));       // the
//     others
//
// A peer that was killed refuses the connection. One that is stopped, or whose listener only a
// forked child still has, takes it and says nothing: that is why several are asked, and after 5 ms
// twice as many, so that one living peer among a hundred silent ones is soon found. No peer is
// ever ruled out for being slow: the asking goes round until the deadline.
//
// Every entry has a lock that its process holds while it lives, and its fork with it. That lock is
// what tells who pins the memory; pids are for people. docs/format/device_peers.md has the bytes.
//   Threads:  any. The server has one thread, started by the first serve(), which takes no signals
//             and waits for no client; callbacks run in it.
//   Lifetime: a server outlives what it serves, and neither is destroyed in the thread of a
//             callback but ServedDescriptor, nor under a lock that a callback takes. In a forked
//             child nothing is served and destructors only close; a server that had begun to serve
//             refuses there.
//   Errors:   see each function. permission_denied where the directory of entries is another
//             user's, or open to others: it says whose and what to do.
//   Cost:     serve: about fifteen system calls; asking: seven a peer, and a thread of each wakes.
//             Three descriptors for each entry.
#pragma once

#include <sys/types.h>

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "os/os.h"
#include "strata/base/result.h"
#include "strata/segment/options.h"

namespace strata::inline v0_1::cuda {

using SegmentUuid = std::array<std::uint8_t, 16>;

// Where the headers are, and whose entries are meant: those of this user, unless root looks at
// another's. Entries are in DIRECTORY/strata-cuda-peers.UID, which is there while one of them is.
struct PeerPlace {
  std::string directory;
  std::optional<uid_t> owner = {};
};

enum class PeerRole : std::uint32_t {
  consumer = 1,  // is attached
  holder = 2,    // keeps the memory and makes no call of the driver
};

// Whether a descriptor that came is what it should be: any process of this user can serve anything.
// What is refused is closed, and the next answer taken.
using CheckDescriptor = std::function<Result<void>(int fd)>;

struct ServeRequest {
  SegmentUuid uuid{};
  std::uint64_t generation = 0;
  // What is handed on, owned from now on. Without one the entry says only who pins the memory:
  // that of mechanisms that need no descriptor.
  Fd fd = {};
  PeerRole role = PeerRole::consumer;
  Access access = Access::read_write;
  // Somebody wants to remove the segment: let go of its lease. The answer goes out afterwards.
  std::function<void()> on_leave = {};
  // Somebody wants the memory back: let go of what is kept and not used.
  std::function<void()> on_release = {};
};

class PeerEntry;
class ServerLoop;
struct ServedState;

// One entry. Destruction takes it away, and returns once no callback runs; it may be destroyed in
// its own callback.
class ServedDescriptor {
 public:
  ~ServedDescriptor();
  ServedDescriptor(const ServedDescriptor&) = delete;
  ServedDescriptor& operator=(const ServedDescriptor&) = delete;

  int fd() const;  // borrowed; -1 without one

 private:
  friend class DescriptorServer;
  ServedDescriptor(ServerLoop& loop, std::shared_ptr<ServedState> state)
      : loop_(loop), state_(std::move(state)) {}
  ServerLoop& loop_;
  std::shared_ptr<ServedState> state_;
};

class DescriptorServer {
 public:
  DescriptorServer(Os& os, std::string directory);
  ~DescriptorServer();
  DescriptorServer(const DescriptorServer&) = delete;
  DescriptorServer& operator=(const DescriptorServer&) = delete;

  // Once it returns, whoever asks is answered. Only this user and root are.
  // Errors: permission_denied; exhausted (descriptors, threads, space), and then nothing is left;
  // failed_precondition in a process that was forked after the first serve().
  Result<std::unique_ptr<ServedDescriptor>> serve(ServeRequest request);
  // Asks for the descriptor and serves it. The entry is there before the asking, so that at no
  // moment the descriptor is in a process that nobody knows of: a peer that dies right after it
  // handed the descriptor on leaves an askable one behind. Errors: of both.
  Result<std::unique_ptr<ServedDescriptor>> join(ServeRequest request, const CheckDescriptor& check,
                                                 Deadline deadline);

 private:
  Result<std::unique_ptr<ServedDescriptor>> serve_under(std::unique_ptr<PeerEntry> entry,
                                                        ServeRequest request);

  Os& os_;
  std::string directory_;
  std::unique_ptr<ServerLoop> loop_;
};

struct DescriptorRequest {
  SegmentUuid uuid{};
  std::uint64_t generation = 0;
  CheckDescriptor check = {};
};

// The descriptor of the segment, from whoever answers first.
// Errors: not_found where nobody has it: every lock is free, or there is no entry;
// failed_precondition where all who answer have another generation; timed_out, naming those who did
// not answer; what `check` returned where nothing else came.
Result<Fd> ask_for_descriptor(Os& os, const PeerPlace& place, const DescriptorRequest& request,
                              Deadline deadline);

// Whether a process that lives has the descriptor, or may be about to get it: all but those who
// only wait for somebody to come who has it.
Result<bool> may_be_had(Os& os, const PeerPlace& place, const SegmentUuid& uuid);

// Asks the holders to let go of their leases, or all who can to let go of what they keep unused,
// and returns how many did. Those that are silent are passed over at the deadline. A holder whose
// segment is not removed within seconds takes its lease again.
Result<std::uint64_t> ask_to_leave(Os& os, const PeerPlace& place, const SegmentUuid& uuid,
                                   Deadline deadline);
Result<std::uint64_t> ask_to_release(Os& os, const PeerPlace& place, const SegmentUuid& uuid,
                                     Deadline deadline);

enum class PeerState : std::uint8_t {
  alive,
  forked_away,  // its process is gone, and a child that it forked still pins the memory
  dead,         // pins nothing
};
std::string_view peer_state_name(PeerState state);
std::string_view peer_role_name(PeerRole role);

// Who has an entry: what it says of itself, made fit to be shown, and what its lock proves.
struct Consumer {
  SegmentUuid uuid{};
  pid_t pid = 0;  // in `pid_namespace`, which may be another than ours
  std::uint64_t start_time_ticks = 0;
  std::uint64_t pid_namespace = 0;
  std::string command;
  PeerRole role = PeerRole::consumer;
  Access access = Access::read_write;
  std::uint64_t since_unix_ns = 0;
  PeerState state = PeerState::dead;
  bool is_serving = false;  // it has the memory, and hands it on; before, it is still asking for it

  bool is_alive() const { return state != PeerState::dead; }
};

// Who pins the segment; the oldest entry first. Nobody where there is no directory of entries. An
// entry that cannot be read has pid 0 and the command "?".
Result<std::vector<Consumer>> consumers(Os& os, const PeerPlace& place, const SegmentUuid& uuid);
// The same of all segments of that user.
Result<std::vector<Consumer>> consumers(Os& os, const PeerPlace& place);
// "pid 4711 (trainer), holder pid 4712 (strata)" of those that are alive.
std::string describe(const std::vector<Consumer>& consumers);

enum class Sweep : std::uint8_t { look, remove };

// Removes the entries of the dead, of this user or, for root, of all, and the directory with the
// last one. Returns how many there were. Proven by free locks alone; idempotent, and a run that was
// killed is finished by the next one.
Result<std::uint64_t> sweep_peers(Os& os, const std::string& directory, Sweep sweep);

}  // namespace strata::inline v0_1::cuda
