#include "segment/header_plane.h"

#include <fcntl.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "os/fork_gate.h"

namespace strata::inline v0_1 {
namespace {

static_assert(kWriterByte == kReaderByte + 1 && kCreatorByte == kReaderByte + 2);
constexpr std::uint64_t kStatBlockBytes = 512;  // unit of st_blocks, whatever the file system
constexpr std::uint64_t kRetryNs = 100'000;  // while another process holds the segment or fills it
constexpr std::uint64_t kForkLeaseMs = 1000;

std::uint64_t lease_byte(Access access) {
  return access == Access::read_write ? kWriterByte : kReaderByte;
}

Result<bool> is_held(Os& os, const LockRange& range, std::uint64_t byte, std::uint64_t count = 1) {
  return os.is_range_locked(range.fd, range.base_bytes + byte, count, LockKind::exclusive);
}

Result<void> take_lease(Os& os, const LockRange& range, Access access, Deadline deadline) {
  while (true) {
    STRATA_ASSIGN(
        const bool locked,
        os.try_lock_byte(range.fd, range.base_bytes + lease_byte(access), LockKind::shared));
    if (locked) return {};
    // Somebody seals, removes or reclaims it; both take moments.
    if (deadline.expired()) {
      return fail(Code::timed_out,
                  "it is being sealed or removed by " + describe(find_holders(os, range)));
    }
    os.sleep_ns(kRetryNs);
  }
}

}  // namespace

HeaderPlane::HeaderPlane(Os& os, Fd file, Access access, HeaderPlace place)
    : os_(os), file_(std::move(file)), access_(access), place_(place), pid_(os.process_id()) {}

HeaderPlane::~HeaderPlane() {
  participants_.clear();  // while their files are open
}

Result<void> HeaderPlane::lease(Deadline deadline) {
  return take_lease(os_, lock_range(), access_, deadline);
}

Result<void> HeaderPlane::lease_as_creator() {
  const LockRange range = lock_range();
  STRATA_ASSIGN(const bool is_writer,
                os_.try_lock_byte(range.fd, range.base_bytes + kWriterByte, LockKind::shared));
  STRATA_ASSIGN(const bool is_creator,
                os_.try_lock_byte(range.fd, range.base_bytes + kCreatorByte, LockKind::exclusive));
  if (is_creator && is_writer) return {};
  return fail(Code::not_ready, "another process still looks at its locks: try again");
}

Result<IdentityBlock> HeaderPlane::identify(const SegmentUri& uri) const {
  STRATA_ASSIGN(const IdentityBlock identity,
                read_identity_block(std::as_bytes(std::span(page_, 1))));
  STRATA_TRY(check_belongs(identity, uri));
  if (must_attach_read_only(identity) && access_ == Access::read_write) {
    return fail(Code::unsupported,
                fmt::format("header: feature bits {:#x} unknown; attach it read-only",
                            identity.features_read_only));
  }
  return identity;
}

Result<void> HeaderPlane::await_ready(const IdentityBlock& identity, Deadline deadline) const {
  while (true) {
    switch (static_cast<SegmentState>(page_->live.state.value.load(std::memory_order_acquire))) {
      case SegmentState::ready: return {};
      case SegmentState::sealed:
        if (access_ != Access::read_write) return {};
        return fail(Code::failed_precondition, "it is sealed; attach it read-only");
      case SegmentState::retired: return fail(Code::not_found, "it has been removed");
      case SegmentState::initialising: {
        STRATA_ASSIGN(const bool is_creator_alive, is_held(os_, lock_range(), kCreatorByte));
        if (!is_creator_alive) {
          return fail(Code::not_ready,
                      fmt::format("its creator (pid {}) died before publishing it; create it "
                                  "again, or `strata gc` reclaims it",
                                  identity.creator_pid));
        }
        if (deadline.expired()) {
          return fail(Code::not_ready, fmt::format("its creator (pid {}) is still filling it",
                                                   identity.creator_pid));
        }
        os_.sleep_ns(kRetryNs);
        break;
      }
      default: return fail(Code::corrupt, "header: impossible state");
    }
  }
}

SegmentState HeaderPlane::state() const {
  const std::uint32_t raw = page_->live.state.value.load(std::memory_order_acquire);
  return raw <= static_cast<std::uint32_t>(SegmentState::retired) ? static_cast<SegmentState>(raw)
                                                                  : SegmentState::blank;
}

void HeaderPlane::store_state(SegmentState state) {
  page_->live.state.value.store(static_cast<std::uint32_t>(state), std::memory_order_release);
}

Result<std::uint64_t> HeaderPlane::payload_bytes(const IdentityBlock& identity,
                                                 std::uint64_t existing_bytes) const {
  const std::uint64_t claimed = page_->live.payload_bytes.value.load(std::memory_order_acquire);
  if (claimed >= identity.created_payload_bytes && claimed <= identity.max_bytes &&
      claimed <= existing_bytes) {
    return claimed;
  }
  return fail(
      Code::corrupt,
      fmt::format("header says {} bytes; created with {}, may grow to {}, and {} exist", claimed,
                  identity.created_payload_bytes, identity.max_bytes, existing_bytes));
}

Result<ChangeLock> HeaderPlane::lock_for_change(Deadline deadline) const {
  return ChangeLock::take(os_, lock_range(), deadline);
}

Result<void> HeaderPlane::become_only_writer() {
  const LockRange range = lock_range();
  STRATA_ASSIGN(const bool is_alone,
                os_.try_lock_byte(range.fd, range.base_bytes + kWriterByte, LockKind::exclusive));
  if (!is_alone) {
    std::vector<Holder> writers = find_holders(os_, range);
    std::erase_if(writers, [&](const Holder& holder) {
      return !holder.is_writer || holder.pid == os_.process_id();
    });
    return fail(Code::failed_precondition, "attached for writing by " + describe(writers));
  }
  // Now, as long as everything can still be taken back. Nobody holds it exclusively: that takes
  // the writer's byte first.
  auto is_reader = os_.try_lock_byte(range.fd, range.base_bytes + kReaderByte, LockKind::shared);
  if (is_reader) return {};
  give_way_to_writers();
  return unexpected(is_reader.error());
}

void HeaderPlane::give_way_to_writers() {
  // Others would wait for ever.
  const LockRange range = lock_range();
  (void)os_.try_lock_byte(range.fd, range.base_bytes + kWriterByte, LockKind::shared);
  (void)os_.unlock_byte(range.fd, range.base_bytes + kReaderByte);
}

void HeaderPlane::stop_writing() {
  access_ = Access::read_only;
  const LockRange range = lock_range();
  (void)os_.unlock_byte(range.fd, range.base_bytes + kWriterByte);
}

Result<void> HeaderPlane::own_file_after_fork() {
  if (os_.process_id() == pid_) return {};
  // What a child inherits is its parent's open file, with its parent's locks.
  const int flags = access_ == Access::read_write ? O_RDWR : O_RDONLY;
  STRATA_ASSIGN(const Fd own, os_.reopen(fd(), flags));
  // Before the parent's is let go of: at no moment does this process count as gone.
  STRATA_TRY(take_lease(os_, {own.get(), place_.lock_base_bytes}, access_,
                        Deadline::after_ms(kForkLeaseMs)));
  STRATA_TRY(os_.replace_fd(fd(), own.get()));
  pid_ = os_.process_id();
  return {};
}

Result<std::unique_ptr<Participant>> HeaderPlane::join(const ForkGate& gate) {
  if (access_ != Access::read_write && state() == SegmentState::sealed) {
    return fail(Code::failed_precondition, "it is sealed: nothing in it can be locked any more");
  }
  STRATA_ASSIGN(Fd tokens, os_.reopen(fd(), O_RDWR));
  if (access_ == Access::read_write) {
    return Participant::join(os_, std::move(tokens), place_.lock_base_bytes,
                             page_->live.next_participant.value, gate);
  }
  // A reader's own page and file give no right to write. The mapping is for the count alone and
  // ends at once: a memfd could not be sealed while it is there.
  STRATA_ASSIGN(std::byte* const writable, os_.mmap({.bytes = kHeaderBytes,
                                                     .fd = tokens.get(),
                                                     .offset_bytes = place_.page_offset_bytes}));
  auto joined =
      Participant::join(os_, std::move(tokens), place_.lock_base_bytes,
                        reinterpret_cast<HeaderPage*>(writable)->live.next_participant.value, gate);
  (void)os_.munmap(writable, kHeaderBytes);
  return joined;
}

Result<const Participant*> HeaderPlane::participant() {
  const auto present = [this]() -> const Participant* {
    const Participant* const joined = joined_.load(std::memory_order_acquire);
    return joined != nullptr && joined->token() != 0 ? joined : nullptr;
  };
  if (const Participant* const already = present()) return already;
  const ForkGate gate;
  if (const Participant* const meanwhile = present()) return meanwhile;
  STRATA_TRY(own_file_after_fork());
  STRATA_ASSIGN(auto joined, join(gate));
  // The one from before a fork stays: what was made of it says that it is nobody any more.
  participants_.push_back(std::move(joined));
  joined_.store(participants_.back().get(), std::memory_order_release);
  return participants_.back().get();
}

Result<void> check_belongs(const IdentityBlock& identity, const SegmentUri& uri) {
  const std::string_view name = padded_text(identity.name);
  const std::string_view kind = kind_name(static_cast<SegmentKind>(identity.kind));
  if (name == uri.name && kind == uri.scheme) return {};
  // What is no name may hold anything, and is not repeated.
  if (!name.empty() && !check_name(name)) return fail(Code::corrupt, "header: has no valid name");
  return fail(Code::corrupt, fmt::format("header: belongs to {}",
                                         name.empty() ? "an anonymous segment"
                                                      : fmt::format("{}:{}", kind, name)));
}

namespace {

// What the live words say, as far as it can be.
void read_live_words(const HeaderPage& page, SegmentStat& stat) {
  const std::uint32_t state = page.live.state.value.load(std::memory_order_relaxed);
  if (state > static_cast<std::uint32_t>(SegmentState::retired)) {
    stat.problem = Status(Code::corrupt, fmt::format("header: impossible state {}", state));
  } else {
    stat.state = static_cast<SegmentState>(state);
  }
  stat.payload_bytes = page.live.payload_bytes.value.load(std::memory_order_relaxed);
  if (stat.payload_bytes < stat.identity.created_payload_bytes ||
      stat.payload_bytes > stat.identity.max_bytes) {
    stat.problem =
        Status(Code::corrupt, fmt::format("header: impossible size {}", stat.payload_bytes));
  }
  stat.content = read_content_block(page, stat.identity, stat.payload_bytes);
}

Result<void> read_locks(Os& os, const LockRange& range, SegmentStat& stat) {
  // Mostly nobody is there, which one question tells.
  STRATA_ASSIGN(const bool is_anybody_there, is_held(os, range, kReaderByte, 3));
  if (!is_anybody_there) return {};
  STRATA_ASSIGN(stat.is_attached, is_held(os, range, kReaderByte, 2));
  STRATA_ASSIGN(stat.is_attached_for_writing, is_held(os, range, kWriterByte));
  STRATA_ASSIGN(stat.is_creator_alive, is_held(os, range, kCreatorByte));
  return {};
}

}  // namespace

Result<SegmentStat> stat_header(Os& os, int fd, SegmentUri uri, const HeaderPlace& place) {
  SegmentStat result;
  result.uri = std::move(uri);
  STRATA_ASSIGN(const struct stat facts, os.fstat(fd));
  result.committed_bytes = static_cast<std::uint64_t>(facts.st_blocks) * kStatBlockBytes;
  result.owner_uid = facts.st_uid;
  result.mode = facts.st_mode & 0777;
  if (!S_ISREG(facts.st_mode)) {
    result.problem = Status(Code::corrupt, "not a regular file");
    return result;
  }
  alignas(HeaderPage) std::array<std::byte, kHeaderBytes> bytes{};
  STRATA_ASSIGN(const std::size_t read, os.pread(fd, bytes, place.page_offset_bytes));
  auto identity = read_identity_block(std::span(bytes).first(read));
  if (!identity) {
    result.problem = identity.error();
    return result;
  }
  if (auto belongs = check_belongs(*identity, result.uri); !belongs) {
    result.problem = belongs.error();
    result.is_of_another = true;
    return result;
  }
  result.identity = *identity;
  read_live_words(*reinterpret_cast<const HeaderPage*>(bytes.data()), result);
  STRATA_TRY(read_locks(os, {fd, place.lock_base_bytes}, result));
  return result;
}

void mark_retired(Os& os, int fd) {
  const auto retired = static_cast<std::uint32_t>(SegmentState::retired);
  // Best effort: a sealed memfd refuses, and the missing name says the same.
  (void)os.pwrite(fd, std::as_bytes(std::span(&retired, 1)),
                  offsetof(HeaderPage, live) + offsetof(LiveBlock, state));
}

}  // namespace strata::inline v0_1
