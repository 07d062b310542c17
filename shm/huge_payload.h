// The payload of a named segment of hugetlb pages: a file of its own, strata.NAME.UUID in a
// directory of a hugetlbfs.
//   Threads:  any.
//   Lifetime: holds the directory open, so that every call means the same one.
//   Errors:   not_found; permission_denied where the file belongs to somebody else than the
//   segment;
//             corrupt where it is no regular file.
// A header says which file it is, and whoever may write to a segment writes its header. So the name
// is that of the segment's URI, which was checked, and nothing else of the header but the digits of
// its uuid leads to a file; and a file counts as the payload only where it belongs to the owner of
// the segment. In a sticky directory no other user can put such a file there.
#pragma once

#include <sys/types.h>

#include <string>

#include "os/os.h"
#include "segment/named_files.h"
#include "strata/base/result.h"
#include "strata/segment/header.h"
#include "strata/segment/uri.h"

namespace strata::inline v0_1 {

class HugePayload final : public ApartFile {
 public:
  // Where the payload is, or is to be: in `directory`, or where that is empty on the first
  // hugetlbfs with pages of that size. Errors: unsupported with the mount command that is missing.
  static Result<HugePayload> locate(Os& os, const std::string& directory, const SegmentUri& uri,
                                    const IdentityBlock& identity);

  Result<Fd> create(mode_t mode) const;
  Result<Fd> open(uid_t owner, int flags) const;
  Result<struct stat> stat(uid_t owner) const override;
  Result<void> unlink(uid_t owner) const override;

 private:
  HugePayload(Os& os, Fd directory, std::string directory_path, std::string name)
      : os_(&os),
        directory_(std::move(directory)),
        directory_path_(std::move(directory_path)),
        name_(std::move(name)) {}
  Result<void> check_owned(const struct stat& facts, uid_t owner) const;

  Os* os_;
  Fd directory_;
  std::string directory_path_;  // for messages only
  std::string name_;
};

}  // namespace strata::inline v0_1
