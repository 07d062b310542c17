#include "gpu/server_loop.h"

#include <algorithm>

#include "gpu/quiet_thread.h"

namespace strata::inline v0_1::cuda {
namespace {

constexpr std::uint64_t kClientMs = 1000;     // to have sent its question
constexpr std::uint64_t kIdleMs = 10'000;     // between two looks around when nothing happens
constexpr std::uint64_t kRestNs = 5'000'000;  // after a failure that may pass
constexpr int kMaxWakeTries = 10;
constexpr std::size_t kMaxClients = 64;        // beyond it the one that waits longest is dropped
constexpr std::size_t kMaxAcceptsAtOnce = 16;  // of one entry, then the others have their turn

}  // namespace

ServerLoop::~ServerLoop() {
  if (is_forked_child()) {
    if (thread_.joinable()) thread_.detach();  // it is not there
    return;
  }
  if (!thread_.joinable()) return;
  is_ending_ = true;
  wake();
  thread_.join();
}

bool ServerLoop::is_forked_child() const { return pid_ != 0 && pid_ != os_.process_id(); }

Result<void> ServerLoop::check_process() const {
  if (!is_forked_child()) return {};
  return fail(
      Code::failed_precondition,
      "this process was forked from one that serves descriptors: open a catalog of its own");
}

Result<void> ServerLoop::start() {
  STRATA_ASSIGN(wake_, os_.event());
  STRATA_ASSIGN(thread_, start_quiet_thread([this] { run(); }));
  pid_ = os_.process_id();
  return {};
}

Result<void> ServerLoop::add(std::shared_ptr<ServedState> state) {
  {
    const std::lock_guard lock(mutex_);
    if (!thread_.joinable()) STRATA_TRY(start());
    served_.push_back(std::move(state));
  }
  wake();
  return {};
}

void ServerLoop::remove(const std::shared_ptr<ServedState>& state) {
  if (is_forked_child()) {
    // Another thread may have held any of the locks when this process was forked.
    state->fd.reset();
    return;
  }
  if (std::this_thread::get_id() == thread_.get_id()) {
    state->is_withdrawn = true;
  } else {
    const std::lock_guard lock(state->callback_mutex);
    state->is_withdrawn = true;
  }
  {
    const std::lock_guard lock(state->fd_mutex);
    state->fd.reset();
  }
  state->entry->withdraw();
  {
    const std::lock_guard lock(mutex_);
    std::erase(served_, state);
  }
  wake();
}

void ServerLoop::wake() {
  // It cannot really fail, and the thread would sleep on.
  for (int i = 0; i < kMaxWakeTries && !os_.signal_event(wake_.get()); ++i) {
  }
}

void ServerLoop::run() {
  while (!is_ending_)
    turn();
}

void ServerLoop::turn() {
  std::vector<std::shared_ptr<ServedState>> served;
  {
    const std::lock_guard lock(mutex_);
    served = served_;
  }
  std::vector<int> fds = {wake_.get()};
  for (const auto& state : served)
    fds.push_back(state->entry->listener());
  const std::size_t first_client = fds.size();
  Deadline until = Deadline::after_ms(kIdleMs);
  for (const Client& client : clients_) {
    fds.push_back(client.socket.get());
    if (client.deadline.at_ns() < until.at_ns()) until = client.deadline;
  }
  const auto ready = os_.wait_any_readable(fds, until);
  if (!ready) return os_.sleep_ns(kRestNs);
  for (const std::size_t index : *ready) {
    if (index == 0) {
      std::array<std::byte, sizeof(std::uint64_t)> count;
      (void)os_.read(wake_.get(), count);
    } else if (index >= first_client) {
      Client& client = clients_[index - first_client];
      if (go_on(client) == Progress::ended) client.socket.reset();
    }
  }
  std::erase_if(clients_,
                [](const Client& client) { return !client.socket || client.deadline.expired(); });
  for (const std::size_t index : *ready) {
    if (index > 0 && index < first_client) accept_from(served[index - 1]);
  }
}

void ServerLoop::accept_from(const std::shared_ptr<ServedState>& state) {
  for (std::size_t i = 0; i < kMaxAcceptsAtOnce; ++i) {
    auto socket = os_.accept(state->entry->listener());
    if (!socket) {
      if (socket.error().code() != Code::not_ready) os_.sleep_ns(kRestNs);
      return;
    }
    const auto peer = os_.peer_credentials(socket->get());
    if (!peer || (peer->uid != os_.identity().uid && peer->uid != 0)) continue;
    Client client{std::move(*socket), state, Deadline::after_ms(kClientMs)};
    // Mostly the question is there already.
    if (go_on(client) == Progress::ended) continue;
    if (clients_.size() == kMaxClients) clients_.erase(clients_.begin());
    clients_.push_back(std::move(client));
  }
}

ServerLoop::Progress ServerLoop::go_on(Client& client) {
  const std::span question = std::as_writable_bytes(std::span(&client.question, 1));
  const auto came =
      os_.receive_message(client.socket.get(), question.subspan(client.question_bytes), 0);
  if (!came) return came.error().code() == Code::not_ready ? Progress::waits : Progress::ended;
  if (came->bytes == 0) return Progress::ended;
  client.question_bytes += came->bytes;
  if (client.question_bytes < question.size()) return Progress::waits;
  answer(client);
  return Progress::ended;
}

void ServerLoop::answer(Client& client) {
  ServedState& state = *client.asked;
  const auto op = op_of(client.question);
  if (!op) return;
  const auto send = [&](PeerOutcome outcome, std::span<const int> fds) {
    const PeerAnswer answer = make_answer(outcome, state.uuid, state.generation);
    (void)os_.send_message(client.socket.get(), std::as_bytes(std::span(&answer, 1)), fds);
  };
  if (client.question.uuid != state.uuid) return send(PeerOutcome::refused, {});
  if (*op == PeerOp::leave) return send(call_back(state, state.on_leave), {});
  if (*op == PeerOp::release) return send(call_back(state, state.on_release), {});
  if (client.question.generation != state.generation) return send(PeerOutcome::stale, {});
  const std::lock_guard lock(state.fd_mutex);
  if (!state.fd) return send(PeerOutcome::nothing, {});
  const int fd = state.fd.get();
  send(PeerOutcome::given, std::span(&fd, 1));
}

PeerOutcome ServerLoop::call_back(ServedState& state, const std::function<void()>& callback) {
  if (!callback) return PeerOutcome::refused;
  const std::lock_guard lock(state.callback_mutex);
  if (state.is_withdrawn) return PeerOutcome::refused;
  callback();
  return PeerOutcome::done;
}

}  // namespace strata::inline v0_1::cuda
