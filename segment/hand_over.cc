// Catalog's two ends of a hand-over: a handle goes through a UNIX socket, with the descriptors that
// belong to it. The peer is believed in nothing: not that it sends, reads, or ever closes.
#include <fmt/format.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>

#include "os/os.h"
#include "segment/backend.h"
#include "strata/segment/catalog.h"
#include "strata/segment/handle.h"

namespace strata::inline v0_1 {
namespace {

// The peer must be of this user, or of root.
Result<void> check_peer(Os& os, int socket) {
  STRATA_ASSIGN(const PeerCredentials peer, os.peer_credentials(socket));
  const uid_t self = os.identity().uid;
  if (peer.uid == self || peer.uid == 0) return {};
  return fail(Code::permission_denied,
              fmt::format("the peer (pid {}) runs as uid {}, not as {}", peer.pid, peer.uid, self));
}

// Whether a message is a packet, or a piece of a stream.
Result<bool> is_packet_socket(Os& os, int socket) {
  STRATA_ASSIGN(const int type, os.socket_type(socket));
  if (type == SOCK_STREAM || type == SOCK_SEQPACKET) return type == SOCK_SEQPACKET;
  return fail(Code::unsupported, "the socket is neither SOCK_STREAM nor SOCK_SEQPACKET");
}

Unexpected closed(std::string_view how_far) {
  return fail(Code::failed_precondition,
              fmt::format("the peer has closed the socket ({})", how_far));
}

// A failed call in the words of this exchange.
Unexpected explain(const Status& failure, std::string_view how_far) {
  if (failure.sys_errno() == EPIPE || failure.sys_errno() == ECONNRESET) return closed(how_far);
  if (failure.sys_errno() == EMSGSIZE) {
    return fail(Code::exhausted, "the handle is longer than the socket's packets (SO_SNDBUF)");
  }
  return unexpected(failure);
}

Result<void> send_all(Os& os, int socket, std::span<const std::byte> bytes,
                      std::span<const int> fds, Deadline deadline) {
  std::size_t sent = 0;
  const auto how_far = [&] { return fmt::format("it took {} of {} bytes", sent, bytes.size()); };
  while (sent < bytes.size()) {
    const auto took = os.send_message(socket, bytes.subspan(sent), fds);
    if (took) {
      sent += *took;
      fds = {};  // they went with the first byte
      continue;
    }
    if (took.error().code() != Code::not_ready) return explain(took.error(), how_far());
    STRATA_ASSIGN(const bool has_room, os.wait_writable(socket, deadline));
    if (!has_room) return fail(Code::timed_out, "the peer does not read: " + how_far());
  }
  return {};
}

// A handle on its way in, with the descriptors that came so far; they are closed with it.
class Incoming {
 public:
  Incoming(Os& os, int socket, Deadline deadline)
      : os_(os), socket_(socket), deadline_(deadline), bytes_(kMaxHandleBytes) {}

  Result<void> read_stream() {
    // Not a byte more than the handle: what follows it is not ours.
    STRATA_TRY(fill(kHandleBeginningBytes));
    STRATA_ASSIGN(const std::size_t length, handle_bytes(bytes()));
    return fill(length);
  }

  Result<void> read_packet() {
    STRATA_TRY(read_some(kMaxHandleBytes));
    if (!is_cut_) return {};
    return fail(Code::corrupt, fmt::format("a packet of over {} bytes", kMaxHandleBytes));
  }

  std::span<const std::byte> bytes() const { return std::span(bytes_).first(came_); }
  std::vector<Fd> take_descriptors() { return std::move(fds_); }

 private:
  Result<void> fill(std::size_t wanted) {
    while (came_ < wanted)
      STRATA_TRY(read_some(wanted - came_));
    return {};
  }

  // Waits for bytes and takes at least one.
  Result<void> read_some(std::size_t at_most) {
    while (true) {
      auto message = os_.receive_message(socket_, std::span(bytes_).subspan(came_, at_most),
                                         kMaxHandleDescriptors);
      if (message && message->bytes > 0) return take(std::move(*message));
      if (message || message.error().sys_errno() == ECONNRESET) {
        if (came_ == 0) return closed("nothing came");
        return fail(Code::corrupt, "the peer has closed the socket amid a handle: " + how_far());
      }
      if (message.error().code() != Code::not_ready) return explain(message.error(), how_far());
      STRATA_ASSIGN(const bool is_there, os_.wait_readable(socket_, deadline_));
      if (!is_there) return fail(Code::timed_out, "no whole handle came: " + how_far());
    }
  }

  std::string how_far() const { return fmt::format("{} bytes came", came_); }

  Result<void> take(ReceivedMessage message) {
    came_ += message.bytes;
    is_cut_ = message.is_cut;
    std::move(message.fds.begin(), message.fds.end(), std::back_inserter(fds_));
    if (fds_.size() <= kMaxHandleDescriptors) return {};
    return fail(Code::corrupt, fmt::format("{} descriptors, at most {} belong to a handle",
                                           fds_.size(), kMaxHandleDescriptors));
  }

  Os& os_;
  int socket_;
  Deadline deadline_;
  std::vector<std::byte> bytes_;
  std::size_t came_ = 0;
  std::vector<Fd> fds_;
  bool is_cut_ = false;
};

}  // namespace

Result<void> Catalog::send(const Segment& segment, int socket, Deadline deadline) {
  Os& os = *world_->os;
  const auto sent = [&]() -> Result<void> {
    STRATA_TRY(check_peer(os, socket));
    STRATA_TRY(is_packet_socket(os, socket));
    STRATA_ASSIGN(const Handle handle, segment.handle());
    STRATA_ASSIGN(const auto bytes, encode(handle));
    return send_all(os, socket, bytes, segment.descriptors(), deadline);
  }();
  if (!sent) return unexpected(sent.error().in("send " + segment.uri().to_string()));
  return {};
}

Result<Segment> Catalog::receive(int socket, const AttachOptions& options, Deadline deadline) {
  Os& os = *world_->os;
  auto received = [&]() -> Result<Segment> {
    STRATA_TRY(check_peer(os, socket));
    STRATA_ASSIGN(const bool is_packet, is_packet_socket(os, socket));
    Incoming incoming(os, socket, deadline);
    STRATA_TRY(is_packet ? incoming.read_packet() : incoming.read_stream());
    STRATA_ASSIGN(const Handle handle, decode(incoming.bytes()));
    std::vector<Fd> descriptors = incoming.take_descriptors();
    if (handle.descriptor_count != descriptors.size()) {
      return fail(Code::corrupt, fmt::format("{} descriptors announced, {} came",
                                             handle.descriptor_count, descriptors.size()));
    }
    STRATA_ASSIGN(Backend* const to, backend(kind_name(handle.kind)));
    AttachOptions within = options;
    within.timeout_ms = std::min(options.timeout_ms, deadline.remaining_ns() / 1'000'000);
    return to->attach_handle(handle, std::move(descriptors), within);
  }();
  if (!received) return unexpected(received.error().in("receive a segment"));
  return received;
}

}  // namespace strata::inline v0_1
