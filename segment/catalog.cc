#include "segment/catalog.h"

#include <fmt/format.h>

#include <array>

namespace strata {

Catalog::Catalog(std::vector<std::unique_ptr<Backend>> backends, std::shared_ptr<Os> os)
    : world_(std::make_shared<World>(std::move(os), std::move(backends))) {
  for (const auto& backend : world_->backends)
    backend->set_world(world_);
}

Result<Backend*> Catalog::backend(std::string_view scheme) {
  std::string known;
  for (const auto& backend : world_->backends) {
    if (backend->scheme() == scheme) return backend.get();
    known += fmt::format("{}{}:", known.empty() ? "" : ", ", backend->scheme());
  }
  return fail(Code::unsupported, fmt::format("no backend for '{}:'; there are {}", scheme, known));
}

Result<Segment> Catalog::create(std::string_view text, const CreateOptions& options) {
  STRATA_ASSIGN(const SegmentUri uri, SegmentUri::parse(text));
  STRATA_ASSIGN(Backend* const to, backend(uri.scheme));
  return to->create(uri, options);
}

Result<Segment> Catalog::attach(std::string_view text, const AttachOptions& options) {
  STRATA_ASSIGN(const SegmentUri uri, SegmentUri::parse(text));
  STRATA_ASSIGN(Backend* const to, backend(uri.scheme));
  return to->attach(uri, options);
}

Result<SegmentStat> Catalog::stat(std::string_view text) {
  STRATA_ASSIGN(const SegmentUri uri, SegmentUri::parse(text));
  STRATA_ASSIGN(Backend* const to, backend(uri.scheme));
  return to->stat(uri);
}

Result<void> Catalog::remove(std::string_view text, const RemoveOptions& options) {
  STRATA_ASSIGN(const SegmentUri uri, SegmentUri::parse(text));
  STRATA_ASSIGN(Backend* const to, backend(uri.scheme));
  return to->remove(uri, options);
}

Result<Segment> Catalog::attach_or_create(std::string_view uri, const CreateOptions& create_options,
                                          const AttachOptions& attach_options) {
  // A name can vanish between the two calls, but not for ever: a few rounds settle it.
  constexpr int kRounds = 8;
  for (int round = 1;; ++round) {
    auto attached = attach(uri, attach_options);
    if (attached || attached.error().code() != Code::not_found || round == kRounds) {
      return attached;
    }
    auto created = create(uri, create_options);
    if (created || created.error().code() != Code::already_exists || round == kRounds) {
      return created;
    }
  }
}

Result<void> Catalog::send(const Segment& segment, int socket, Os& os) {
  STRATA_ASSIGN(const PeerCredentials peer, os.peer_credentials(socket));
  const uid_t self = os.identity().uid;
  if (peer.uid != self && peer.uid != 0) {
    return fail(Code::permission_denied,
                fmt::format("send {}: the peer (pid {}) runs as uid {}, not as {}",
                            segment.uri().to_string(), peer.pid, peer.uid, self));
  }
  STRATA_ASSIGN(const Handle handle, segment.handle());
  STRATA_ASSIGN(const auto bytes, encode(handle));
  return os.send_message(socket, bytes, segment.descriptors());
}

Result<Segment> Catalog::receive(int socket, Os& os, const AttachOptions& options,
                                 Deadline deadline) {
  STRATA_ASSIGN(const PeerCredentials peer, os.peer_credentials(socket));
  const uid_t self = os.identity().uid;
  if (peer.uid != self && peer.uid != 0) {
    return fail(Code::permission_denied,
                fmt::format("receive a segment: the peer (pid {}) runs as uid {}, not as {}",
                            peer.pid, peer.uid, self));
  }
  STRATA_ASSIGN(const bool readable, os.wait_readable(socket, deadline.remaining_ns() / 1'000'000));
  if (!readable) return fail(Code::timed_out, "receive a segment: nothing came");
  std::array<std::byte, kHandleBytes> bytes;
  STRATA_ASSIGN(ReceivedMessage message, os.receive_message(socket, bytes, 2));
  if (message.bytes != kHandleBytes) {
    return fail(Code::corrupt,
                fmt::format("receive a segment: {} bytes, then the end", message.bytes));
  }
  STRATA_ASSIGN(const Handle handle, decode(bytes));
  if (handle.descriptor_count != message.fds.size()) {
    return fail(Code::corrupt, fmt::format("receive a segment: {} descriptors announced, {} came",
                                           handle.descriptor_count, message.fds.size()));
  }
  STRATA_ASSIGN(Backend* const to, backend(kind_name(handle.kind)));
  return to->attach_handle(handle, std::move(message.fds), options);
}

}  // namespace strata
