// A FilePayload maps a segment that lives in files: header and payload in one (tmpfs, memfd), or
// the payload in a file of its own (hugetlb, which has no 4 KiB pages for a header).
//   Threads:  as Payload.
//   Lifetime: within that of its HeaderPlane. Where both are in one file the header page lies in
//             this mapping.
//   Errors:   corrupt where file and header disagree; else as HeaderPlane.
//   Cost:     attach: open, lock, fstat, mmap and one page fault.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "segment/attachment.h"
#include "segment/header_plane.h"
#include "segment/payload.h"

namespace strata::inline v0_1 {

struct FileAttachRequest {
  SegmentUri uri;  // whose header it must be; without a name: of an anonymous segment
  Access access = Access::read_write;
  Deadline deadline = Deadline::after_ms(1000);
  // Fail with not_found where the file has lost its name, as a memfd never had one.
  bool must_have_name = false;
};

class FilePayload final : public Payload {
 public:
  // What only the backend knows: how fresh bytes are placed and committed, and how all of them are
  // moved. Without it bytes are allocated wherever the kernel likes.
  class Placer {
   public:
    virtual ~Placer() = default;
    virtual Result<void> commit(FilePayload& payload, std::span<std::byte> fresh) = 0;
    virtual Result<PlacementReport> migrate(FilePayload& payload, const Placement& placement,
                                            std::uint64_t payload_bytes) = 0;
  };

  // Opens the payload's own file; called only where the header says that there is one. The header
  // belongs to the segment that was asked for, and its file to `owner`.
  using OpenPayload = std::function<Result<Fd>(const IdentityBlock&, uid_t owner, int flags)>;

  // A segment that is mapped, before it is anybody's attachment. The payload goes first.
  struct Mapped {
    IdentityBlock identity;
    std::unique_ptr<HeaderPlane> plane;
    std::unique_ptr<FilePayload> payload;
    std::optional<std::uint64_t> existing_bytes;  // where attach has asked already
  };

  // Maps an existing segment and takes the lease. `header` must be an open file of its own:
  // locks belong to it. Waits, up to the deadline, for a creator that is still at work.
  static Result<Mapped> attach(Os& os, Fd header, const OpenPayload& open_payload,
                               const FileAttachRequest& request);
  // Maps a segment whose header file this process has just made and leased as its creator, for
  // reading and writing. `own_file` is the payload's, where it is apart.
  static Result<Mapped> create(std::unique_ptr<HeaderPlane> plane, Fd own_file,
                               const IdentityBlock& identity);
  ~FilePayload() override;

  void set_placer(std::unique_ptr<Placer> placer) { placer_ = std::move(placer); }
  // Whether the descriptors travel with the handle: only those of anonymous segments do.
  void set_anonymous() { is_anonymous_ = true; }

  Result<std::byte*> host_bytes() override { return payload_; }
  Result<std::uint64_t> existing_bytes() override;
  Result<void> extend(std::uint64_t from_bytes, std::uint64_t to_bytes) override;
  Result<PlacementReport> migrate(const Placement& placement, std::uint64_t payload_bytes) override;
  Result<void> check_may_freeze() override;
  Result<void> freeze(const std::function<Result<void>()>& record) override;
  std::vector<int> descriptors() const override;

  HeaderPlane& plane() const { return plane_; }
  // The file that holds the payload, and where in it the payload begins.
  int fd() const { return own_file_ ? own_file_.get() : plane_.fd(); }
  std::uint64_t offset_bytes() const { return offset_bytes_; }
  // The payload's address space: max_bytes, rounded up to pages.
  std::span<std::byte> reserved() const { return {payload_, reserved_bytes_}; }

 private:
  explicit FilePayload(HeaderPlane& plane) : plane_(plane), os_(plane.os()) {}
  Result<void> map_file(std::uint64_t file_bytes);
  Result<void> map(const IdentityBlock& identity);
  Result<std::byte*> map_aligned(std::uint64_t bytes, std::uint64_t alignment, int protection,
                                 int flags, int fd);
  void unmap();
  bool is_sealable_memfd() const;
  Result<void> remap(std::span<std::byte> plane, std::uint64_t offset_bytes, int fd,
                     int protection);
  void thaw();
  Result<void> seal_files();

  HeaderPlane& plane_;
  Os& os_;
  Fd own_file_;
  std::unique_ptr<Placer> placer_;
  std::byte* header_ = nullptr;  // start of the first mapping
  std::size_t header_mapped_bytes_ = 0;
  std::byte* payload_ = nullptr;  // within the first mapping, or a second one
  std::size_t reserved_bytes_ = 0;
  std::uint64_t offset_bytes_ = 0;
  bool is_anonymous_ = false;
};

// All that a Segment is made of.
AttachmentParts parts_of(SegmentUri uri, FilePayload::Mapped&& mapped);

}  // namespace strata::inline v0_1
