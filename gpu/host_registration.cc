#include "strata/gpu/host_registration.h"

#include <fmt/format.h>
#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <map>

#include "gpu/driver.h"
#include "gpu/leftovers.h"
#include "segment/attachment.h"

#ifndef MADV_POPULATE_READ  // glibc before 2.35
#define MADV_POPULATE_READ 22
#define MADV_POPULATE_WRITE 23
#endif

namespace strata::inline v0_1::cuda {
namespace {

// The pages that hold [0, bytes) of the payload.
std::span<std::byte> pages_of(const Segment& segment, std::uint64_t bytes) {
  std::byte* const host = attachment_of(segment).host;
  const std::uint64_t skew = reinterpret_cast<std::uintptr_t>(host) % kPageBytes;
  return {host - skew, align_up(bytes + skew, kPageBytes)};
}

// So that pinning finds pages, and memory that is not to be had is an error and no signal.
Result<void> fault_in(const Segment& segment, std::span<std::byte> pages) {
  Os& os = attachment_of(segment).plane->os();
  const bool is_writer = segment.access() == Access::read_write;
  const auto done =
      os.madvise(pages.data(), pages.size(), is_writer ? MADV_POPULATE_WRITE : MADV_POPULATE_READ);
  // Linux before 5.14 does not know it: then pinning does this too.
  if (done || done.error().sys_errno() == EINVAL) return {};
  return unexpected(done.error().in(fmt::format("get memory for {}", format_bytes(pages.size()))));
}

Result<unsigned> registration_flags(const Segment& segment, const Device& device) {
  STRATA_ASSIGN(const int can_register, device.attribute(kAttributeHostRegisterSupported));
  if (can_register == 0) {
    return fail(Code::unsupported,
                fmt::format("{} cannot use memory of the host in place: copy it there (copy(), or "
                            "Segment::read() and write() of a cuda: segment)",
                            device.describe()));
  }
  constexpr unsigned kFlags = kHostRegisterPortable | kHostRegisterDeviceMap;
  switch (segment.access()) {
    case Access::read_write: return kFlags;
    case Access::copy_on_write:
      return fail(Code::unsupported,
                  "it is attached for private edits, which pinning would copy as a whole: attach "
                  "it read-only, or for writing");
    case Access::read_only: break;
  }
  STRATA_ASSIGN(const int can_read, device.attribute(kAttributeReadOnlyHostRegisterSupported));
  if (can_read != 0) return kFlags | kHostRegisterReadOnly;
  return fail(Code::unsupported,
              fmt::format("it is attached read-only, and {} takes only memory that it may write: "
                          "attach it for writing, or copy it to the device",
                          device.describe()));
}

// The attachment is kept with what stays registered: other memory at that address would be taken
// for registered, and be copied to and from where these pages are.
void unregister_or_keep(Device& device, std::span<std::byte> piece, const Segment& segment) {
  const auto unregister = [&device, piece] {
    const auto scope = device.enter();
    if (!scope) return scope.error().driver_result() == kDeinitialized;
    return is_given_back(device.driver().call().cuMemHostUnregister(piece.data()));
  };
  if (unregister()) return;
  keep_leftover(
      device.driver(), piece.size(),
      [unregister, kept = std::make_shared<Segment>(segment.share())] { return unregister(); });
}

}  // namespace

// Those of this process, by attachment. One that has ended leaves an empty place.
struct HostRegistration::Registry {
  static Registry& get() {
    // Never destroyed: what static objects hold may end after this.
    static auto& registry = *new Registry;
    return registry;
  }
  std::shared_ptr<HostRegistration> find(const Segment& segment) {
    const std::lock_guard lock(mutex);
    const auto found = by_attachment.find(&attachment_of(segment));
    return found == by_attachment.end() ? nullptr : found->second.lock();
  }
  std::shared_ptr<HostRegistration> find_or_make(const Segment& segment) {
    const std::lock_guard lock(mutex);
    std::erase_if(by_attachment, [](const auto& entry) { return entry.second.expired(); });
    auto& known = by_attachment[&attachment_of(segment)];
    auto registration = known.lock();
    if (!registration) {
      registration.reset(new HostRegistration(segment));
      known = registration;
    }
    return registration;
  }

  std::mutex mutex;
  std::map<const Attachment*, std::weak_ptr<HostRegistration>> by_attachment;
};

// What users hold. The last of them unregisters before the registry can lose sight of it: whoever
// asks meanwhile waits for that, and begins anew.
std::shared_ptr<HostRegistration> HostRegistration::counted(std::shared_ptr<HostRegistration> all) {
  all->users_ += 1;
  HostRegistration* const one = all.get();
  return {one, [all = std::move(all)](HostRegistration* registration) { registration->let_go(); }};
}

void HostRegistration::let_go() {
  const std::lock_guard lock(mutex_);
  users_ -= 1;
  if (users_ == 0) unregister_down_to(0);
}

Result<std::shared_ptr<HostRegistration>> HostRegistration::of(const Segment& segment,
                                                               Device& device,
                                                               std::uint64_t piece_bytes) {
  STRATA_TRY(segment.host_bytes());
  auto registration = Registry::get().find_or_make(segment);
  const std::lock_guard lock(registration->mutex_);
  if (auto done = registration->extend(device, piece_bytes); !done) {
    return unexpected(
        done.error().in(fmt::format("map {} to a device", segment.uri().to_string())));
  }
  return counted(registration);
}

std::shared_ptr<HostRegistration> HostRegistration::find(const Segment& segment) {
  auto registration = Registry::get().find(segment);
  if (!registration) return nullptr;
  const std::lock_guard lock(registration->mutex_);
  if (registration->users_ == 0) return nullptr;
  return counted(std::move(registration));
}

Result<void> HostRegistration::extend(Device& device, std::uint64_t piece_bytes) {
  const std::uint64_t bytes = segment_.payload_bytes();
  if (bytes <= bytes_) return {};
  const std::span<std::byte> before =
      bytes_ == 0 ? std::span<std::byte>() : pages_of(segment_, bytes_);
  const std::span<std::byte> missing = pages_of(segment_, bytes).subspan(before.size());
  if (!missing.empty()) {
    STRATA_ASSIGN(const unsigned flags, registration_flags(segment_, device));
    STRATA_TRY(fault_in(segment_, missing));
    (void)retry_leftovers();
    if (!device_) device_ = &device;
    STRATA_TRY(register_pieces(missing, flags, piece_bytes));
  }
  bytes_ = bytes;
  return {};
}

Result<void> HostRegistration::register_pieces(std::span<std::byte> range, unsigned flags,
                                               std::uint64_t piece_bytes) {
  const std::size_t before = pieces_.size();
  STRATA_ASSIGN(const ContextScope scope, device_->enter());
  for (std::uint64_t at = 0; at < range.size();) {
    const auto piece = range.subspan(at, std::min<std::uint64_t>(piece_bytes, range.size() - at));
    auto done =
        STRATA_CUDA(device_->driver(), cuMemHostRegister, piece.data(), piece.size(), flags);
    if (!done) {
      unregister_down_to(before);
      return unexpected(done.error().in(fmt::format(
          "pin {} at byte {} of {}", format_bytes(piece.size()), at, format_bytes(range.size()))));
    }
    pieces_.push_back(piece);
    at += piece.size();
  }
  return {};
}

void HostRegistration::unregister_down_to(std::size_t count) {
  if (pieces_.size() <= count) return;
  if (device_->driver().is_usable()) {
    for (std::size_t i = pieces_.size(); i > count; --i)
      unregister_or_keep(*device_, pieces_[i - 1], segment_);
  }
  pieces_.resize(count);
  if (count == 0) bytes_ = 0;
}

std::uint64_t HostRegistration::bytes() const {
  const std::lock_guard lock(mutex_);
  return bytes_;
}

Result<CuDevicePointer> HostRegistration::address_on(Device& device) const {
  const std::lock_guard lock(mutex_);
  STRATA_ASSIGN(const ContextScope scope, device.enter());
  CuDevicePointer first = 0;
  for (const std::span<std::byte> piece : pieces_) {
    CuDevicePointer address = 0;
    STRATA_TRY(STRATA_CUDA(device.driver(), cuMemHostGetDevicePointer, &address, piece.data(), 0));
    const auto offset_bytes = static_cast<std::uint64_t>(piece.data() - pieces_.front().data());
    if (offset_bytes == 0) first = address;
    if (address == first + offset_bytes) continue;
    return fail(Code::unsupported,
                fmt::format("{}: {} sees the pieces that it is registered in apart from each other",
                            segment_.uri().to_string(), device.describe()));
  }
  return first + reinterpret_cast<std::uintptr_t>(attachment_of(segment_).host) -
         reinterpret_cast<std::uintptr_t>(pieces_.front().data());
}

}  // namespace strata::inline v0_1::cuda
