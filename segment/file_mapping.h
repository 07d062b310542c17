// A FileMapping maps a segment that lives in files: header and payload in one (tmpfs, memfd),
// or the payload in a file of its own (hugetlb, which has no 4 KiB pages for a header).
//   Threads:  as Mapping.
//   Lifetime: the lease is a lock on the header file, held by a descriptor that nobody else
//             shares; it ends with this object or with the process.
//   Errors:   corrupt where file and header disagree; not_ready, failed_precondition as attach.
//   Cost:     attach: open, lock, fstat, mmap and one page fault.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <span>

#include "segment/payload.h"
#include "segment/uri.h"

namespace strata {

struct SegmentFiles {
  Fd header;
  Fd payload;  // none where the payload follows the header in the same file
};

struct FileMappingHooks {
  // Places and commits payload bytes that have just come to exist. Without it they are
  // allocated wherever the kernel likes.
  std::function<Result<void>(std::span<std::byte> fresh)> commit;
  // Runs after everything is unmapped and every lock is released.
  std::function<void()> on_detach;
};

struct FileAttachRequest {
  SegmentUri uri;  // whose header it must be; without a name: of an anonymous segment
  Access access = Access::read_write;
  Deadline deadline = Deadline::after_ms(1000);
  // Fail with not_found where the file has lost its name, as a memfd never had one.
  bool must_have_name = false;
};

class FileMapping final : public Mapping {
 public:
  // Opens the payload's own file; called only where the header says that there is one. The header
  // belongs to the segment that was asked for, and its file to `owner`.
  using OpenPayload = std::function<Result<Fd>(const IdentityBlock&, uid_t owner, int flags)>;

  struct Attached {
    IdentityBlock identity;
    std::unique_ptr<FileMapping> mapping;
  };

  // Maps an existing segment and takes the lease. `header` must be an open file of its own:
  // locks belong to it. Waits, up to the deadline, for a creator that is still at work.
  static Result<Attached> attach(Os& os, Fd header, const OpenPayload& open_payload,
                                 const FileAttachRequest& request);
  // Maps a segment whose files this process has just made, for reading and writing.
  static Result<std::unique_ptr<FileMapping>> create(Os& os, SegmentFiles files,
                                                     const IdentityBlock& identity);
  ~FileMapping() override;

  void set_hooks(FileMappingHooks hooks) { hooks_ = std::move(hooks); }
  bool is_sealable_memfd() const;

  HeaderPage& header() override { return *reinterpret_cast<HeaderPage*>(header_); }
  Access access() const override { return access_; }
  Result<std::byte*> host_payload() override { return payload_; }
  LockRange lock_range() const override { return {files_.header.get(), kLockBaseBytes}; }
  Os& os() override { return os_; }
  Result<std::uint64_t> existing_bytes() override;
  Result<void> extend(std::uint64_t from_bytes, std::uint64_t to_bytes) override;
  Result<void> check_may_freeze() override;
  Result<void> freeze() override;
  std::vector<int> descriptors() const override;
  // Whether the descriptors travel with the handle: only those of anonymous segments do.
  void set_anonymous() { is_anonymous_ = true; }

  int header_fd() const { return files_.header.get(); }
  int payload_fd() const { return files_.payload ? files_.payload.get() : files_.header.get(); }
  std::uint64_t payload_offset_bytes() const { return payload_offset_bytes_; }
  // The payload's address space: max_bytes, rounded up to pages.
  std::span<std::byte> reserved() const { return {payload_, reserved_bytes_}; }

 private:
  FileMapping(Os& os, SegmentFiles files, Access access);
  Result<void> map(const IdentityBlock& identity);
  Result<std::byte*> map_aligned(std::uint64_t bytes, std::uint64_t alignment, int protection,
                                 int flags, int fd);
  void unmap();

  Os& os_;
  SegmentFiles files_;
  Access access_;
  FileMappingHooks hooks_;
  std::byte* header_ = nullptr;  // start of the first mapping
  std::size_t header_mapped_bytes_ = 0;
  std::byte* payload_ = nullptr;  // within the first mapping, or a second one
  std::size_t reserved_bytes_ = 0;
  std::uint64_t payload_offset_bytes_ = 0;
  bool payload_is_apart_ = false;
  // What attach has just asked, for whoever asks first.
  std::optional<std::uint64_t> attached_file_bytes_;
  bool is_anonymous_ = false;
};

}  // namespace strata
