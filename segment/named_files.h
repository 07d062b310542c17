// Named header files: a directory in which the file "PREFIX.NAME" is the header of the segment NAME
// of one scheme, and mostly its payload as well. A file is made without a name, completed, locked,
// and linked last: a creator that is killed before leaves nothing, and one that is killed later
// leaves a header that says so. What has a name is judged by its header and its locks alone.
//   Threads:  any.
//   Errors:   see each function; a name is valid, as strata/segment/uri.h says. Nothing changes on
//             failure.
//   Cost:     create: four system calls; open: one; removing and reclaiming: about fifteen.
// Two kinds of files in one directory need prefixes of which neither, with its dot, begins the
// other: then no name of the one is a file of the other.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "segment/backend.h"
#include "segment/header_plane.h"
#include "segment/named_directory.h"
#include "strata/base/result.h"

namespace strata::inline v0_1 {

struct NamedFilesOptions {
  std::string scheme;             // of the segments: "shm"
  std::string directory;          // "/dev/shm"
  std::string prefix = "strata";  // without the dot
};

// A payload that is a file of its own beside the header; owner: the header's.
class ApartFile {
 public:
  virtual ~ApartFile() = default;
  virtual Result<struct stat> stat(uid_t owner) const = 0;
  virtual Result<void> unlink(uid_t owner) const = 0;
};

class NamedFiles {
 public:
  // Finds the payload's own file of a header that says there is one. Errors: where it cannot be
  // looked for.
  using FindApart =
      std::function<Result<std::unique_ptr<ApartFile>>(const SegmentUri&, const IdentityBlock&)>;

  NamedFiles(Os& os, NamedFilesOptions options, FindApart find_apart = {})
      : os_(os), options_(std::move(options)), find_apart_(std::move(find_apart)) {}

  std::string path_of(std::string_view name) const;

  // A file without a name, readable and writable, with the permission bits of `mode`.
  Result<Fd> create_unnamed(std::uint32_t mode) const;
  // Gives it its name; remains of a dead process under that name are reclaimed. Errors:
  // already_exists.
  Result<void> link(int fd, const SegmentUri& uri) const;
  // Opens the header for an attachment. A FIFO or a device under our name does not make it wait.
  // Errors: not_found; permission_denied with the reason a person needs; failed_precondition where
  // it is sealed, and `access` is for writing.
  Result<Fd> open(const std::string& name, Access access) const;

  Result<SegmentStat> stat(const SegmentUri& uri) const;
  Result<std::vector<SegmentStat>> list() const;
  Result<void> remove(const SegmentUri& uri, const RemoveOptions& options) const;
  // Removes what this process made and could not finish, and nothing else of that name.
  void abandon(const SegmentUri& uri, const IdentityBlock& identity) const;
  Result<std::vector<ReclaimDecision>> reclaim(const ReclaimOptions& options) const;
  Result<ReclaimDecision> reclaim_one(const SegmentUri& uri, const ReclaimOptions& options) const;

 private:
  std::string file_name_of(std::string_view name) const;
  // Those that begin as ours do, sorted.
  Result<std::vector<std::string>> list_files() const;
  // A removal has moved it aside: named_removal.h.
  bool is_file_aside(const std::string& file_name) const;
  SegmentUri uri_of(const std::string& file_name) const;
  // All or nothing; the caller has judged the segment under its change lock.
  Result<void> take_name_away(const NamedDirectory& directory, const SegmentStat& facts,
                              int fd) const;
  Result<ReclaimDecision> reclaim_aside(const std::string& file_name,
                                        const ReclaimOptions& options) const;
  // Whether an orphan of that owner is ours to reclaim; where not, the decision says so.
  bool may_reclaim(const SegmentStat& facts, ReclaimDecision& decision) const;

  Os& os_;
  NamedFilesOptions options_;
  FindApart find_apart_;
};

}  // namespace strata::inline v0_1
