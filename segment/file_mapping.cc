#include "segment/file_mapping.h"

#include <fcntl.h>
#include <fmt/format.h>

#include "segment/segment_file.h"

namespace strata {
namespace {

constexpr std::uint64_t kRetryNs = 100'000;  // while another process holds the segment or fills it

Result<void> take_lease(Os& os, int fd, Access access, Deadline deadline) {
  const std::uint64_t byte = access == Access::read_write ? kWriterByte : kReaderByte;
  while (true) {
    STRATA_ASSIGN(const bool locked, os.try_lock_byte(fd, kLockBaseBytes + byte, LockKind::shared));
    if (locked) return {};
    // Somebody seals, removes or reclaims it; both take moments.
    if (deadline.expired()) {
      return fail(Code::timed_out, "it is being sealed or removed by " +
                                       describe(find_holders(os, {fd, kLockBaseBytes})));
    }
    os.sleep_ns(kRetryNs);
  }
}

// Waits until the segment is published. The caller has checked the identity block.
Result<void> await_ready(Os& os, int fd, const HeaderPage& page, const IdentityBlock& identity,
                         Access access, Deadline deadline) {
  while (true) {
    switch (static_cast<SegmentState>(page.live.state.value.load(std::memory_order_acquire))) {
      case SegmentState::ready: return {};
      case SegmentState::sealed:
        if (access != Access::read_write) return {};
        return fail(Code::failed_precondition, "it is sealed; attach it read-only");
      case SegmentState::retired: return fail(Code::not_found, "it has been removed");
      case SegmentState::initialising: {
        STRATA_ASSIGN(
            const bool is_creator_alive,
            os.is_range_locked(fd, kLockBaseBytes + kCreatorByte, 1, LockKind::exclusive));
        if (!is_creator_alive) {
          return fail(Code::not_ready,
                      fmt::format("its creator (pid {}) died before publishing it; `strata gc` "
                                  "reclaims it",
                                  identity.creator_pid));
        }
        if (deadline.expired()) {
          return fail(Code::not_ready, fmt::format("its creator (pid {}) is still filling it",
                                                   identity.creator_pid));
        }
        os.sleep_ns(kRetryNs);
        break;
      }
      default: return fail(Code::corrupt, "header: impossible state");
    }
  }
}

// A memfd with a write seal refuses writable mappings with EPERM, which sounds like bad rights.
Status explain_map_failure(Os& os, int fd, const Status& failure) {
  const auto seals = os.get_seals(fd);
  if (failure.code() != Code::permission_denied || !seals || !(*seals & F_SEAL_WRITE)) {
    return failure;
  }
  return Status(Code::failed_precondition, "it is sealed; attach it read-only",
                failure.sys_errno());
}

}  // namespace

FileMapping::FileMapping(Os& os, SegmentFiles files, Access access)
    : os_(os), files_(std::move(files)), access_(access) {}

FileMapping::~FileMapping() {
  unmap();
  files_.payload.reset();
  files_.header.reset();
  if (hooks_.on_detach) hooks_.on_detach();
}

void FileMapping::unmap() {
  if (payload_is_apart_ && payload_) (void)os_.munmap(payload_, reserved_bytes_);
  if (header_) (void)os_.munmap(header_, header_mapped_bytes_);
  header_ = payload_ = nullptr;
}

Result<FileMapping::Attached> FileMapping::attach(Os& os, Fd header,
                                                  const OpenPayload& open_payload,
                                                  const FileAttachRequest& request) {
  const Access access = request.access;
  STRATA_TRY(take_lease(os, header.get(), access, request.deadline));
  // After the lease: a file without a name was removed before we got it.
  STRATA_ASSIGN(const struct stat facts, os.fstat(header.get()));
  if (request.must_have_name && facts.st_nlink == 0) {
    return fail(Code::not_found, "it has been removed");
  }
  if (!S_ISREG(facts.st_mode)) return fail(Code::corrupt, "not a regular file");
  const auto file_bytes = static_cast<std::uint64_t>(facts.st_size);
  if (file_bytes < kHeaderBytes) {
    return fail(Code::corrupt, fmt::format("header: the file has only {} bytes", file_bytes));
  }
  std::unique_ptr<FileMapping> mapping(new FileMapping(os, {std::move(header), Fd()}, access));
  // Most segments are one file that cannot grow: map it whole before reading what it is.
  const int protection = access == Access::read_only ? PROT_READ : PROT_READ | PROT_WRITE;
  if (access == Access::copy_on_write) {
    mapping->header_mapped_bytes_ = kHeaderBytes;
    STRATA_ASSIGN(
        mapping->header_,
        os.mmap({.bytes = kHeaderBytes, .protection = PROT_READ, .fd = mapping->header_fd()}));
  } else {
    mapping->header_mapped_bytes_ = file_bytes;
    auto mapped =
        os.mmap({.bytes = file_bytes, .protection = protection, .fd = mapping->header_fd()});
    if (!mapped) return unexpected(explain_map_failure(os, mapping->header_fd(), mapped.error()));
    mapping->header_ = *mapped;
  }
  STRATA_ASSIGN(const IdentityBlock identity,
                read_identity_block({mapping->header_, kHeaderBytes}));
  STRATA_TRY(check_belongs(identity, request.uri));
  if (must_attach_read_only(identity) && access == Access::read_write) {
    return fail(Code::unsupported, fmt::format("header: feature bits {:#x} unknown; attach it "
                                               "read-only",
                                               identity.features_read_only));
  }
  STRATA_TRY(
      await_ready(os, mapping->header_fd(), mapping->header(), identity, access, request.deadline));
  if (identity.payload_is_apart) {
    const int flags = access == Access::read_write ? O_RDWR : O_RDONLY;
    STRATA_ASSIGN(mapping->files_.payload, open_payload(identity, facts.st_uid, flags));
  }
  const std::uint64_t end_bytes = identity.payload_offset_bytes + identity.max_bytes;
  const bool is_mapped = access != Access::copy_on_write && !identity.payload_is_apart &&
                         identity.page_bytes == kPageBytes && end_bytes <= file_bytes;
  if (is_mapped) {
    mapping->payload_offset_bytes_ = identity.payload_offset_bytes;
    mapping->payload_ = mapping->header_ + identity.payload_offset_bytes;
    mapping->reserved_bytes_ = mapping->header_mapped_bytes_ - identity.payload_offset_bytes;
  } else {
    mapping->unmap();
    STRATA_TRY(mapping->map(identity));
  }
  if (!identity.payload_is_apart) mapping->attached_file_bytes_ = file_bytes;
  return Attached{identity, std::move(mapping)};
}

Result<std::unique_ptr<FileMapping>> FileMapping::create(Os& os, SegmentFiles files,
                                                         const IdentityBlock& identity) {
  std::unique_ptr<FileMapping> mapping(new FileMapping(os, std::move(files), Access::read_write));
  STRATA_TRY(mapping->map(identity));
  return mapping;
}

// Address space that begins at a multiple of `alignment`, which huge pages need.
Result<std::byte*> FileMapping::map_aligned(std::uint64_t bytes, std::uint64_t alignment,
                                            int protection, int flags, int fd) {
  if (alignment <= kPageBytes) {
    return os_.mmap({.bytes = bytes, .protection = protection, .flags = flags, .fd = fd});
  }
  const std::uint64_t reserve_bytes = bytes + alignment;
  STRATA_ASSIGN(std::byte* const reserved,
                os_.mmap({.bytes = reserve_bytes,
                          .protection = PROT_NONE,
                          .flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE}));
  auto* const start =
      reinterpret_cast<std::byte*>(align_up(reinterpret_cast<std::uintptr_t>(reserved), alignment));
  auto mapped = os_.mmap({.address = start,
                          .bytes = bytes,
                          .protection = protection,
                          .flags = flags | MAP_FIXED,
                          .fd = fd});
  if (!mapped) {
    (void)os_.munmap(reserved, reserve_bytes);
    return mapped;
  }
  // Give the two ends back.
  if (start != reserved) {
    (void)os_.munmap(reserved, static_cast<std::size_t>(start - reserved));
  }
  std::byte* const end = start + align_up(bytes, kPageBytes);
  if (end < reserved + reserve_bytes) {
    (void)os_.munmap(end, static_cast<std::size_t>(reserved + reserve_bytes - end));
  }
  return mapped;
}

Result<void> FileMapping::map(const IdentityBlock& identity) {
  const int protection = access_ == Access::read_only ? PROT_READ : PROT_READ | PROT_WRITE;
  const int flags = access_ == Access::copy_on_write ? MAP_PRIVATE | MAP_NORESERVE : MAP_SHARED;
  payload_is_apart_ = identity.payload_is_apart;
  payload_offset_bytes_ = identity.payload_offset_bytes;
  reserved_bytes_ = align_up(identity.max_bytes, identity.page_bytes);
  if (payload_is_apart_) {
    header_mapped_bytes_ = kHeaderBytes;
    const int header_protection =
        access_ == Access::read_write ? PROT_READ | PROT_WRITE : PROT_READ;
    STRATA_ASSIGN(
        header_,
        os_.mmap({.bytes = kHeaderBytes, .protection = header_protection, .fd = header_fd()}));
    // hugetlbfs aligns by itself, and refuses a MAP_FIXED that is not. It would also take pages out
    // of the pool for all that is mapped, which is max_bytes, and before anybody has asked whether
    // there is room: what is to exist is made to exist by commit.
    STRATA_ASSIGN(payload_, os_.mmap({.bytes = reserved_bytes_,
                                      .protection = protection,
                                      .flags = flags | MAP_NORESERVE,
                                      .fd = payload_fd()}));
    return {};
  }
  header_mapped_bytes_ = payload_offset_bytes_ + reserved_bytes_;
  STRATA_ASSIGN(header_, map_aligned(header_mapped_bytes_, identity.page_bytes, protection, flags,
                                     header_fd()));
  payload_ = header_ + payload_offset_bytes_;
  if (access_ == Access::copy_on_write) {
    // Only the payload is private: states and sizes must go on being seen.
    STRATA_ASSIGN(header_, os_.mmap({.address = header_,
                                     .bytes = kHeaderBytes,
                                     .protection = PROT_READ,
                                     .flags = MAP_SHARED | MAP_FIXED,
                                     .fd = header_fd()}));
  }
  return {};
}

Result<std::uint64_t> FileMapping::existing_bytes() {
  auto bytes = std::exchange(attached_file_bytes_, std::nullopt).value_or(0);
  if (bytes == 0) {
    STRATA_ASSIGN(const struct stat facts, os_.fstat(payload_fd()));
    bytes = static_cast<std::uint64_t>(facts.st_size);
  }
  return bytes > payload_offset_bytes_ ? bytes - payload_offset_bytes_ : 0;
}

Result<void> FileMapping::extend(std::uint64_t from_bytes, std::uint64_t to_bytes) {
  STRATA_ASSIGN(const std::uint64_t existing, existing_bytes());
  std::uint64_t wanted = to_bytes;
  if (payload_is_apart_) {
    STRATA_ASSIGN(const struct stat facts, os_.fstat(payload_fd()));
    wanted = align_up(to_bytes, static_cast<std::uint64_t>(facts.st_blksize));
  }
  // A grower that was killed may have left the file longer than the header says: never shrink.
  if (existing < wanted) STRATA_TRY(os_.ftruncate(payload_fd(), payload_offset_bytes_ + wanted));
  if (hooks_.commit) return hooks_.commit({payload_ + from_bytes, to_bytes - from_bytes});
  return os_.fallocate(payload_fd(), 0, payload_offset_bytes_ + from_bytes, to_bytes - from_bytes);
}

bool FileMapping::is_sealable_memfd() const {
  // tmpfs files have seals too, but only F_SEAL_SEAL, which means none can be added.
  const auto seals = os_.get_seals(payload_fd());
  return seals && !(*seals & F_SEAL_SEAL);
}

Result<void> FileMapping::check_may_freeze() {
  if (is_sealable_memfd()) return {};
  STRATA_ASSIGN(const struct stat facts, os_.fstat(header_fd()));
  const uid_t self = os_.identity().uid;
  if (facts.st_uid == self || self == 0) return {};
  return fail(Code::permission_denied,
              fmt::format("it belongs to uid {}: that user or root can take the right to write "
                          "away",
                          facts.st_uid));
}

Result<void> FileMapping::freeze() {
  // Maps a plane again, at the same address, through a descriptor that cannot write: mprotect
  // alone could be undone, and a memfd refuses the write seal while one such mapping is left.
  const auto remap = [&](int fd, std::byte* at, std::size_t bytes) -> Result<void> {
    STRATA_ASSIGN(const Fd read_only, os_.reopen(fd, O_RDONLY));
    STRATA_TRY(os_.mmap({.address = at,
                         .bytes = bytes,
                         .protection = PROT_READ,
                         .flags = MAP_SHARED | MAP_FIXED | MAP_NORESERVE,
                         .fd = read_only.get()}));
    return {};
  };
  access_ = Access::read_only;
  STRATA_TRY(remap(header_fd(), header_, header_mapped_bytes_));
  if (payload_is_apart_) STRATA_TRY(remap(payload_fd(), payload_, reserved_bytes_));
  for (const int fd : {header_fd(), payload_fd()}) {
    if (is_sealable_memfd()) {
      STRATA_TRY(os_.add_seals(fd, F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL));
    } else {
      STRATA_ASSIGN(const struct stat facts, os_.fstat(fd));
      STRATA_TRY(os_.fchmod(fd, facts.st_mode & 0555));
    }
    if (!payload_is_apart_) break;
  }
  return {};
}

std::vector<int> FileMapping::descriptors() const {
  if (!is_anonymous_) return {};
  if (!files_.payload) return {files_.header.get()};
  return {files_.header.get(), files_.payload.get()};
}

}  // namespace strata
