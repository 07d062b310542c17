#include "segment/named_removal.h"

#include <fmt/format.h>

#include <algorithm>

#include "segment/header_plane.h"

namespace strata::inline v0_1 {
namespace {

constexpr char kAsideMark = '-';
constexpr std::size_t kUuidChars = 36;
constexpr std::size_t kRandomChars = 8;

std::string aside_stem(const SegmentStat& facts) {
  return fmt::format("{}{}.{}.", kAsideMark, facts.uri.name, uuid_text(facts.identity.uuid));
}

// Nobody else can have taken a name that nobody could foresee.
Result<std::string> new_aside_name(Os& os, const SegmentStat& facts) {
  std::uint32_t random = 0;
  STRATA_TRY(os.get_random(std::as_writable_bytes(std::span(&random, 1))));
  return fmt::format("{}{:08x}", aside_stem(facts), random);
}

Result<void> absent_is_fine(Result<void> done) {
  if (!done && done.error().code() == Code::not_found) return {};
  return done;
}

}  // namespace

Result<void> remove_name(Os& os, const NamedDirectory& directory, const std::string& file_name,
                         const SegmentStat& facts, int fd, const ApartFile* payload) {
  if (payload == nullptr) {
    STRATA_TRY(directory.unlink(file_name));
    if (!facts.problem) mark_retired(os, fd);
    return {};
  }
  const auto found = payload->stat(facts.owner_uid);
  if (!found && found.error().code() != Code::not_found) return unexpected(found.error());
  STRATA_ASSIGN(const std::string aside_name, new_aside_name(os, facts));
  const std::string aside =
      file_name.substr(0, file_name.size() - facts.uri.name.size()) + aside_name;
  STRATA_TRY(directory.rename(file_name, aside));
  if (auto gone = absent_is_fine(payload->unlink(facts.owner_uid)); !gone) {
    (void)directory.rename(aside, file_name);
    return gone;
  }
  mark_retired(os, fd);
  return directory.unlink(aside);
}

bool is_aside(std::string_view name) { return name.starts_with(kAsideMark); }

std::string name_of_aside(std::string_view name) {
  constexpr std::size_t kEndChars = 1 + kUuidChars + 1 + kRandomChars;
  name.remove_prefix(1);
  return std::string(name.substr(0, std::max(name.size(), kEndChars) - kEndChars));
}

Result<void> check_aside(Os& os, std::string_view name, const SegmentStat& facts, int fd) {
  const auto refuse = [&](std::string_view why) {
    return fail(Code::failed_precondition, fmt::format("its name says that a removal was not "
                                                       "finished, but {}",
                                                       why));
  };
  if (facts.problem) return refuse(facts.problem->message());
  if (!facts.identity.payload_is_apart || !name.starts_with(aside_stem(facts))) {
    return refuse("its header does not");
  }
  STRATA_ASSIGN(const struct stat file, os.fstat(fd));
  if (file.st_nlink != 1) return refuse("the segment has another name");
  return {};
}

Result<void> finish_removal(Os& os, const NamedDirectory& directory, const std::string& file_name,
                            const SegmentStat& facts, int fd, const ApartFile& payload) {
  STRATA_TRY(absent_is_fine(payload.unlink(facts.owner_uid)));
  mark_retired(os, fd);
  return directory.unlink(file_name);
}

}  // namespace strata::inline v0_1
