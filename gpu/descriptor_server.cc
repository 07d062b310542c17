#include <cstring>

#include "gpu/descriptor_asking.h"
#include "gpu/descriptor_exchange.h"
#include "gpu/server_loop.h"

namespace strata::inline v0_1::cuda {
namespace {

PeerRecord record_of(Os& os, const ServeRequest& request) {
  const ProcessIdentity& self = os.identity();
  PeerRecord record{};
  record.magic = kRecordMagic;
  record.version = kPeerVersion;
  record.record_bytes = sizeof record;
  record.role = static_cast<std::uint32_t>(request.role);
  record.access = static_cast<std::uint32_t>(request.access);
  record.uuid = request.uuid;
  record.generation = request.generation;
  record.pid = static_cast<std::uint32_t>(self.pid);
  record.uid = self.uid;
  record.start_time_ticks = self.start_time_ticks;
  record.pid_namespace = self.pid_namespace;
  record.since_unix_ns = unix_ns();
  const std::string command = read_command_name(os, self.pid);
  std::memcpy(record.command.data(), command.data(),
              std::min(command.size(), record.command.size() - 1));
  return record;
}

std::shared_ptr<ServedState> state_of(ServeRequest request, std::unique_ptr<PeerEntry> entry) {
  auto state = std::make_shared<ServedState>();
  state->entry = std::move(entry);
  state->uuid = request.uuid;
  state->generation = request.generation;
  state->on_leave = std::move(request.on_leave);
  state->on_release = std::move(request.on_release);
  state->fd = std::move(request.fd);
  return state;
}

}  // namespace

DescriptorServer::DescriptorServer(Os& os, std::string directory)
    : os_(os), directory_(std::move(directory)), loop_(std::make_unique<ServerLoop>(os)) {}

DescriptorServer::~DescriptorServer() = default;

Result<std::unique_ptr<ServedDescriptor>> DescriptorServer::serve(ServeRequest request) {
  STRATA_TRY(loop_->check_process());
  STRATA_ASSIGN(auto entry, PeerEntry::announce(os_, directory_, record_of(os_, request)));
  return serve_under(std::move(entry), std::move(request));
}

Result<std::unique_ptr<ServedDescriptor>> DescriptorServer::join(ServeRequest request,
                                                                 const CheckDescriptor& check,
                                                                 Deadline deadline) {
  STRATA_TRY(loop_->check_process());
  STRATA_ASSIGN(auto entry, PeerEntry::announce(os_, directory_, record_of(os_, request)));
  DescriptorAsking asking(os_, {directory_}, {request.uuid, request.generation, check});
  asking.show_in(*entry);
  STRATA_ASSIGN(request.fd, asking.ask(deadline));
  return serve_under(std::move(entry), std::move(request));
}

Result<std::unique_ptr<ServedDescriptor>> DescriptorServer::serve_under(
    std::unique_ptr<PeerEntry> entry, ServeRequest request) {
  STRATA_TRY(entry->listen());
  auto state = state_of(std::move(request), std::move(entry));
  STRATA_TRY(loop_->add(state));
  return std::unique_ptr<ServedDescriptor>(new ServedDescriptor(*loop_, std::move(state)));
}

ServedDescriptor::~ServedDescriptor() { loop_.remove(state_); }

// No lock: only the destruction of this very object changes it.
int ServedDescriptor::fd() const { return state_->fd.get(); }

}  // namespace strata::inline v0_1::cuda
