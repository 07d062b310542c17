// The thread of a DescriptorServer: it answers whoever asks any of the entries, and calls back.
//   Threads:  add() and remove() any; the rest is the loop's own.
//   Lifetime: the thread begins with the first entry, and ends with the loop. In a forked child
//             there is no thread: nothing there is locked, woken or removed.
//   Errors:   a client that is slow, silent or wrong is dropped; it can ask again. Where no client
//             can be accepted (no descriptors left) the loop rests a moment and tries again.
//   Cost:     one poll over all entries and clients for each event.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "gpu/peer_directory.h"
#include "gpu/peer_protocol.h"
#include "os/os.h"
#include "strata/base/result.h"

namespace strata::inline v0_1::cuda {

// What is served under one entry. Its callbacks are called under `callback_mutex`, and never again
// once it is withdrawn.
struct ServedState {
  std::unique_ptr<PeerEntry> entry;
  SegmentUuid uuid{};
  std::uint64_t generation = 0;
  std::function<void()> on_leave;
  std::function<void()> on_release;
  std::mutex callback_mutex;
  bool is_withdrawn = false;  // under callback_mutex, or by the loop's thread
  std::mutex fd_mutex;
  Fd fd;  // under fd_mutex: sending it and closing it exclude each other
};

class ServerLoop {
 public:
  explicit ServerLoop(Os& os) : os_(os) {}
  ~ServerLoop();
  ServerLoop(const ServerLoop&) = delete;
  ServerLoop& operator=(const ServerLoop&) = delete;

  // Errors: exhausted where there can be no thread; failed_precondition in a forked child.
  Result<void> check_process() const;
  Result<void> add(std::shared_ptr<ServedState> state);
  // Returns once no callback of it runs, unless it is called by one.
  void remove(const std::shared_ptr<ServedState>& state);

 private:
  struct Client {
    Fd socket;
    std::shared_ptr<ServedState> asked;
    Deadline deadline;
    PeerQuestion question{};
    std::size_t question_bytes = 0;  // that have come
  };
  enum class Progress : std::uint8_t { waits, ended };

  bool is_forked_child() const;
  Result<void> start();
  void run();
  void turn();
  void accept_from(const std::shared_ptr<ServedState>& state);
  Progress go_on(Client& client);
  void answer(Client& client);
  PeerOutcome call_back(ServedState& state, const std::function<void()>& callback);
  void wake();

  Os& os_;
  std::mutex mutex_;
  std::vector<std::shared_ptr<ServedState>> served_;
  std::atomic<pid_t> pid_{0};  // whose thread it is
  std::atomic<bool> is_ending_{false};
  Fd wake_;
  std::thread thread_;
  std::vector<Client> clients_;  // the thread's own
};

}  // namespace strata::inline v0_1::cuda
