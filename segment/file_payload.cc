#include "segment/file_payload.h"

#include <fcntl.h>
#include <fmt/format.h>

namespace strata::inline v0_1 {
namespace {

int protection_of(Access access) {
  return access == Access::read_only ? PROT_READ : PROT_READ | PROT_WRITE;
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

// The facts of a header file that is leased: what has no name any more was removed before.
Result<struct stat> look_at(const HeaderPlane& plane, const FileAttachRequest& request) {
  STRATA_ASSIGN(const struct stat facts, plane.os().fstat(plane.fd()));
  if (request.must_have_name && facts.st_nlink == 0) {
    return fail(Code::not_found, "it has been removed");
  }
  if (!S_ISREG(facts.st_mode)) return fail(Code::corrupt, "not a regular file");
  if (static_cast<std::uint64_t>(facts.st_size) < kHeaderBytes) {
    return fail(Code::corrupt, fmt::format("header: the file has only {} bytes", facts.st_size));
  }
  return facts;
}

}  // namespace

FilePayload::~FilePayload() { unmap(); }

void FilePayload::unmap() {
  if (own_file_ && payload_) (void)os_.munmap(payload_, reserved_bytes_);
  if (header_) (void)os_.munmap(header_, header_mapped_bytes_);
  header_ = payload_ = nullptr;
}

Result<FilePayload::Mapped> FilePayload::attach(Os& os, Fd header, const OpenPayload& open_payload,
                                                const FileAttachRequest& request) {
  Mapped mapped;
  mapped.plane = std::make_unique<HeaderPlane>(os, std::move(header), request.access);
  HeaderPlane& plane = *mapped.plane;
  STRATA_TRY(plane.lease(request.deadline));
  STRATA_ASSIGN(const struct stat facts, look_at(plane, request));
  const auto file_bytes = static_cast<std::uint64_t>(facts.st_size);
  mapped.payload.reset(new FilePayload(plane));
  FilePayload& payload = *mapped.payload;
  STRATA_TRY(payload.map_file(file_bytes));
  STRATA_ASSIGN(mapped.identity, plane.identify(request.uri));
  const IdentityBlock& identity = mapped.identity;
  STRATA_TRY(plane.await_ready(identity, request.deadline));
  if (identity.payload_is_apart) {
    const int flags = request.access == Access::read_write ? O_RDWR : O_RDONLY;
    STRATA_ASSIGN(payload.own_file_, open_payload(identity, facts.st_uid, flags));
  }
  const std::uint64_t end_bytes = identity.payload_offset_bytes + identity.max_bytes;
  const bool is_mapped = request.access != Access::copy_on_write && !identity.payload_is_apart &&
                         identity.page_bytes == kPageBytes && end_bytes <= file_bytes;
  if (is_mapped) {
    payload.offset_bytes_ = identity.payload_offset_bytes;
    payload.payload_ = payload.header_ + identity.payload_offset_bytes;
    payload.reserved_bytes_ = payload.header_mapped_bytes_ - identity.payload_offset_bytes;
  } else {
    payload.unmap();
    STRATA_TRY(payload.map(identity));
  }
  if (!identity.payload_is_apart) {
    mapped.existing_bytes = file_bytes - std::min(file_bytes, identity.payload_offset_bytes);
  }
  return mapped;
}

Result<FilePayload::Mapped> FilePayload::create(std::unique_ptr<HeaderPlane> plane, Fd own_file,
                                                const IdentityBlock& identity) {
  Mapped mapped;
  mapped.identity = identity;
  mapped.plane = std::move(plane);
  mapped.payload.reset(new FilePayload(*mapped.plane));
  mapped.payload->own_file_ = std::move(own_file);
  STRATA_TRY(mapped.payload->map(identity));
  return mapped;
}

// Most segments are one file that cannot grow: it is mapped whole before it is read what it is.
Result<void> FilePayload::map_file(std::uint64_t file_bytes) {
  const bool is_private = plane_.access() == Access::copy_on_write;
  header_mapped_bytes_ = is_private ? kHeaderBytes : file_bytes;
  auto mapped = os_.mmap({.bytes = header_mapped_bytes_,
                          .protection = is_private ? PROT_READ : protection_of(plane_.access()),
                          .fd = plane_.fd()});
  if (!mapped) return unexpected(explain_map_failure(os_, plane_.fd(), mapped.error()));
  header_ = *mapped;
  plane_.use_page(header_);
  return {};
}

// Address space that begins at a multiple of `alignment`, which huge pages need.
Result<std::byte*> FilePayload::map_aligned(std::uint64_t bytes, std::uint64_t alignment,
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

Result<void> FilePayload::map(const IdentityBlock& identity) {
  const Access access = plane_.access();
  const int flags = access == Access::copy_on_write ? MAP_PRIVATE | MAP_NORESERVE : MAP_SHARED;
  offset_bytes_ = identity.payload_offset_bytes;
  reserved_bytes_ = align_up(identity.max_bytes, identity.page_bytes);
  const int header_protection = access == Access::read_write ? PROT_READ | PROT_WRITE : PROT_READ;
  if (own_file_) {
    header_mapped_bytes_ = kHeaderBytes;
    STRATA_ASSIGN(
        header_,
        os_.mmap({.bytes = kHeaderBytes, .protection = header_protection, .fd = plane_.fd()}));
    // hugetlbfs aligns by itself, and refuses a MAP_FIXED that is not. It would also take pages out
    // of the pool for all that is mapped, which is max_bytes, and before anybody has asked whether
    // there is room: what is to exist is made to exist by commit.
    STRATA_ASSIGN(payload_, os_.mmap({.bytes = reserved_bytes_,
                                      .protection = protection_of(access),
                                      .flags = flags | MAP_NORESERVE,
                                      .fd = fd()}));
  } else {
    header_mapped_bytes_ = offset_bytes_ + reserved_bytes_;
    STRATA_ASSIGN(header_, map_aligned(header_mapped_bytes_, identity.page_bytes,
                                       protection_of(access), flags, fd()));
    payload_ = header_ + offset_bytes_;
    if (access == Access::copy_on_write) {
      // Only the payload is private: states and sizes must go on being seen.
      STRATA_ASSIGN(header_, os_.mmap({.address = header_,
                                       .bytes = kHeaderBytes,
                                       .protection = PROT_READ,
                                       .flags = MAP_SHARED | MAP_FIXED,
                                       .fd = fd()}));
    }
  }
  plane_.use_page(header_);
  return {};
}

Result<std::uint64_t> FilePayload::existing_bytes() {
  STRATA_ASSIGN(const struct stat facts, os_.fstat(fd()));
  const auto bytes = static_cast<std::uint64_t>(facts.st_size);
  return bytes > offset_bytes_ ? bytes - offset_bytes_ : 0;
}

Result<void> FilePayload::extend(std::uint64_t from_bytes, std::uint64_t to_bytes) {
  STRATA_ASSIGN(const std::uint64_t existing, existing_bytes());
  std::uint64_t wanted = to_bytes;
  if (own_file_) {
    STRATA_ASSIGN(const struct stat facts, os_.fstat(fd()));
    wanted = align_up(to_bytes, static_cast<std::uint64_t>(facts.st_blksize));
  }
  // A grower that was killed may have left the file longer than the header says: never shrink.
  if (existing < wanted) STRATA_TRY(os_.ftruncate(fd(), offset_bytes_ + wanted));
  if (placer_) return placer_->commit(*this, {payload_ + from_bytes, to_bytes - from_bytes});
  return os_.fallocate(fd(), 0, offset_bytes_ + from_bytes, to_bytes - from_bytes);
}

Result<PlacementReport> FilePayload::migrate(const Placement& placement,
                                             std::uint64_t payload_bytes) {
  if (!placer_) return Payload::migrate(placement, payload_bytes);
  return placer_->migrate(*this, placement, payload_bytes);
}

bool FilePayload::is_sealable_memfd() const {
  // tmpfs files have seals too, but only F_SEAL_SEAL, which means none can be added.
  const auto seals = os_.get_seals(fd());
  return seals && !(*seals & F_SEAL_SEAL);
}

Result<void> FilePayload::check_may_freeze() {
  if (is_sealable_memfd()) return {};
  STRATA_ASSIGN(const struct stat facts, os_.fstat(plane_.fd()));
  const uid_t self = os_.identity().uid;
  if (facts.st_uid == self || self == 0) return {};
  return fail(Code::permission_denied,
              fmt::format("it belongs to uid {}: that user or root can take the right to write "
                          "away",
                          facts.st_uid));
}

// Maps a part again at the same address.
Result<void> FilePayload::remap(std::span<std::byte> part, std::uint64_t offset_bytes, int fd,
                                int protection) {
  STRATA_TRY(os_.mmap({.address = part.data(),
                       .bytes = part.size(),
                       .protection = protection,
                       .flags = MAP_SHARED | MAP_FIXED | MAP_NORESERVE,
                       .fd = fd,
                       .offset_bytes = offset_bytes}));
  return {};
}

// After a failed freeze: as it was.
void FilePayload::thaw() { (void)remap(reserved(), offset_bytes_, fd(), PROT_READ | PROT_WRITE); }

// All files or none; but the seals of a memfd cannot be taken back.
Result<void> FilePayload::seal_files() {
  struct Changed {
    int file;
    mode_t mode;
  };
  std::vector<Changed> changed;
  const auto seal_one = [&](int file) -> Result<void> {
    if (is_sealable_memfd()) {
      return os_.add_seals(file, F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL);
    }
    STRATA_ASSIGN(const struct stat facts, os_.fstat(file));
    STRATA_TRY(os_.fchmod(file, facts.st_mode & 0555));
    changed.push_back({file, facts.st_mode & 07777});
    return {};
  };
  auto sealed = seal_one(plane_.fd());
  if (sealed && own_file_) sealed = seal_one(fd());
  if (!sealed) {
    for (const Changed& each : changed)
      (void)os_.fchmod(each.file, each.mode);
  }
  return sealed;
}

Result<void> FilePayload::freeze(const std::function<Result<void>()>& record) {
  // Through descriptors that cannot write: mprotect alone could be undone, and a memfd refuses the
  // write seal while one writable mapping is left.
  STRATA_ASSIGN(const Fd header_file, os_.reopen(plane_.fd(), O_RDONLY));
  STRATA_ASSIGN(const Fd payload_file, os_.reopen(fd(), O_RDONLY));
  const std::span head(header_, own_file_ ? header_mapped_bytes_ : offset_bytes_);
  if (auto frozen = remap(reserved(), offset_bytes_, payload_file.get(), PROT_READ); !frozen) {
    thaw();
    return frozen;
  }
  auto done = record();
  if (done) done = remap(head, 0, header_file.get(), PROT_READ);
  if (done) done = seal_files();
  if (!done) {
    (void)remap(head, 0, plane_.fd(), PROT_READ | PROT_WRITE);
    thaw();
  }
  return done;
}

std::vector<int> FilePayload::descriptors() const {
  if (!is_anonymous_) return {};
  if (!own_file_) return {plane_.fd()};
  return {plane_.fd(), own_file_.get()};
}

AttachmentParts parts_of(SegmentUri uri, FilePayload::Mapped&& mapped) {
  return {.uri = std::move(uri),
          .identity = mapped.identity,
          .plane = std::move(mapped.plane),
          .payload = std::move(mapped.payload),
          .existing_bytes = mapped.existing_bytes};
}

}  // namespace strata::inline v0_1
