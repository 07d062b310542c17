#include "gpu/holder.h"

#include <fmt/format.h>

#include <algorithm>

#include "gpu/poll.h"
#include "os/detached_process.h"
#include "segment/named_files.h"

namespace strata::inline v0_1::cuda {
namespace {

constexpr std::uint64_t kLookNs = 100'000'000;     // between two looks at the header
constexpr std::uint64_t kCloseLookNs = 2'000'000;  // after it was asked to leave
constexpr std::uint64_t kAwayMs = 3000;            // then the segment was not removed after all

}  // namespace

std::string_view holder_end_name(HolderEnd end) {
  return end == HolderEnd::removed ? "it has been removed" : "it was never published";
}

Result<std::unique_ptr<SegmentHolder>> SegmentHolder::hold(Os& os, DescriptorServer& server,
                                                           const HolderOptions& options,
                                                           const SegmentUri& uri) {
  const Deadline deadline = Deadline::after_ms(options.timeout_ms);
  std::unique_ptr<SegmentHolder> holder(new SegmentHolder(os, uri));
  const auto held = [&]() -> Result<void> {
    STRATA_TRY(check_name(uri.name));
    STRATA_ASSIGN(holder->asked_, os.event());
    STRATA_TRY(holder->open_header(options, deadline));
    return holder->take_over(server, options, deadline);
  }();
  if (!held) return unexpected(held.error().in("hold " + uri.to_string()));
  return holder;
}

SegmentHolder::~SegmentHolder() { let_go(); }

Result<void> SegmentHolder::open_header(const HolderOptions& options, Deadline deadline) {
  const NamedFiles files(
      os_, {.scheme = "cuda", .directory = options.directory, .prefix = "strata-cuda"});
  STRATA_ASSIGN(Fd file, files.open(uri_.name, Access::read_only));
  plane_ = std::make_unique<HeaderPlane>(os_, std::move(file), Access::read_only);
  STRATA_TRY(plane_->lease(deadline));
  STRATA_ASSIGN(const struct stat facts, os_.fstat(plane_->fd()));
  if (!S_ISREG(facts.st_mode) ||
      static_cast<std::uint64_t>(facts.st_size) < kDeviceHeaderFileBytes) {
    return fail(Code::corrupt, "header: not a file of a device segment");
  }
  if (facts.st_uid != os_.identity().uid) {
    return fail(Code::permission_denied,
                fmt::format("it belongs to uid {}, whose processes alone can have its memory",
                            facts.st_uid));
  }
  STRATA_ASSIGN(page_,
                os_.mmap({.bytes = kHeaderBytes, .protection = PROT_READ, .fd = plane_->fd()}));
  plane_->use_page(page_);
  STRATA_ASSIGN(identity_, plane_->identify(uri_));
  if (identity_.boot_id != os_.identity().boot_id) {
    return fail(Code::failed_precondition,
                "it is of another boot of this machine, and its memory is gone: remove it");
  }
  return {};
}

// The creator writes it before it publishes, and may still be at it.
Result<ExportBlock> SegmentHolder::await_export_block(Deadline deadline) const {
  Poll poll(os_, deadline, Poll::Looks::costly);
  while (true) {
    auto block = read_export_block(plane_->page(), identity_);
    if (block || plane_->state() != SegmentState::initialising) return block;
    if (!is_creator_alive()) return fail(Code::not_ready, "its creator died before publishing it");
    if (poll.expired()) {
      return fail(Code::not_ready, fmt::format("its creator (pid {}) has no memory for it yet",
                                               identity_.creator_pid));
    }
    poll.pause();
  }
}

Result<void> SegmentHolder::take_over(DescriptorServer& server, const HolderOptions& options,
                                      Deadline deadline) {
  STRATA_ASSIGN(exported_, await_export_block(deadline));
  const auto mechanism = static_cast<DeviceMechanism>(exported_.mechanism);
  if (mechanism != DeviceMechanism::vmm_fd) {
    return fail(Code::unsupported, fmt::format("its memory is shared by {}, which ends with the "
                                               "process that made it: nobody else can hold it",
                                               mechanism_name(mechanism)));
  }
  // Before the descriptor: from here on the device stays up.
  files_ = open_device_files(os_, options.device_directory, padded_text(exported_.pci_address));
  const auto& generation = plane_->page().live.generation.value;
  ServeRequest request{.uuid = identity_.uuid,
                       .generation = generation.load(std::memory_order_acquire),
                       .role = PeerRole::holder,
                       .access = Access::read_only,
                       .on_leave = [this] { leave(); }};
  STRATA_ASSIGN(served_, server.join(std::move(request), {}, deadline));
  if (const auto end = end_of_segment()) {
    return fail(Code::not_found, std::string(holder_end_name(*end)));
  }
  return {};
}

bool SegmentHolder::is_creator_alive() const {
  const LockRange range = plane_->lock_range();
  // Where it cannot be asked, nobody is called dead.
  return os_.is_range_locked(range.fd, range.base_bytes + kCreatorByte, 1, LockKind::exclusive)
      .value_or(true);
}

std::optional<HolderEnd> SegmentHolder::end_of_segment() const {
  const bool was_alive = is_creator_alive();  // asked first: it may publish and go
  const SegmentState state = plane_->state();
  if (state == SegmentState::retired) return HolderEnd::removed;
  const auto facts = os_.fstat(plane_->fd());
  if (facts && facts->st_nlink == 0) return HolderEnd::removed;
  const bool is_unfinished = state == SegmentState::initialising || state == SegmentState::blank;
  if (is_unfinished && !was_alive) return HolderEnd::never_published;
  return std::nullopt;
}

std::optional<HolderEnd> SegmentHolder::look() {
  if (end_) return end_;
  end_ = end_of_segment();
  if (end_) {
    let_go();
  } else {
    come_back();
  }
  return end_;
}

void SegmentHolder::leave() {
  {
    const std::lock_guard lock(mutex_);
    const LockRange range = plane_->lock_range();
    (void)os_.unlock_byte(range.fd, range.base_bytes + kReaderByte);
    until_back_ = Deadline::after_ms(kAwayMs);
    has_left_ = true;
  }
  (void)os_.signal_event(asked_.get());
}

void SegmentHolder::come_back() {
  const std::lock_guard lock(mutex_);
  if (!until_back_ || !until_back_->expired()) return;
  // Somebody who is removing it at this moment keeps the lease from us: then the next look tells.
  if (!plane_->lease(Deadline::after_ms(0))) return;
  until_back_.reset();
  has_left_ = false;
}

void SegmentHolder::let_go() {
  served_.reset();
  files_.open.clear();
  plane_.reset();
  if (page_) (void)os_.munmap(page_, kHeaderBytes);
  page_ = nullptr;
}

Result<void> keep_until_over(Os& os, std::vector<std::unique_ptr<SegmentHolder>>& holders,
                             int stop_event) {
  while (true) {
    std::erase_if(holders, [](const auto& holder) { return holder->look().has_value(); });
    if (holders.empty()) return {};
    std::vector<int> events;
    std::uint64_t pause_ns = kLookNs;
    for (const auto& holder : holders) {
      events.push_back(holder->asked_event());
      if (holder->has_left()) pause_ns = kCloseLookNs;
    }
    if (stop_event >= 0) events.push_back(stop_event);
    STRATA_ASSIGN(const auto ready, os.wait_any_readable(events, Deadline::after_ns(pause_ns)));
    for (const std::size_t index : ready) {
      if (index == holders.size()) return {};
      std::array<std::byte, sizeof(std::uint64_t)> count;
      (void)os.read(events[index], count);
    }
  }
}

Result<void> start_holder(const std::vector<std::string>& holder_command, const SegmentUri& uri,
                          Deadline deadline) {
  std::vector<std::string> command = holder_command;
  command.push_back(uri.to_string());
  const auto started = start_detached(command, deadline);
  if (!started) return unexpected(started.error().in("start a holder"));
  return {};
}

}  // namespace strata::inline v0_1::cuda
