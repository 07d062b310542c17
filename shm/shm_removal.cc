#include "shm/shm_removal.h"

#include <fmt/format.h>

#include <algorithm>

#include "segment/segment_file.h"

namespace strata {
namespace {

constexpr std::string_view kAsidePrefix = "strata.-";
static_assert(kAsidePrefix.starts_with(kShmFilePrefix));
constexpr std::size_t kUuidChars = 36;
constexpr std::size_t kRandomChars = 8;

std::string aside_stem(const SegmentStat& facts) {
  return fmt::format("{}{}.{}.", kAsidePrefix, facts.uri.name, uuid_text(facts.identity.uuid));
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

Result<void> remove_name(Os& os, const ShmDirectory& directory, const SegmentStat& facts, int fd,
                         const HugePayload* payload) {
  const std::string file_name = shm_file_name(facts.uri.name);
  if (payload == nullptr) {
    STRATA_TRY(directory.unlink(file_name));
    if (!facts.problem) mark_retired(os, fd);
    return {};
  }
  const auto found = payload->stat(facts.owner_uid);
  if (!found && found.error().code() != Code::not_found) return unexpected(found.error());
  STRATA_ASSIGN(const std::string aside, new_aside_name(os, facts));
  STRATA_TRY(directory.rename(file_name, aside));
  if (auto gone = absent_is_fine(payload->unlink(facts.owner_uid)); !gone) {
    (void)directory.rename(aside, file_name);
    return gone;
  }
  mark_retired(os, fd);
  return directory.unlink(aside);
}

bool is_aside(std::string_view file_name) { return file_name.starts_with(kAsidePrefix); }

SegmentUri uri_of_aside(std::string_view file_name) {
  constexpr std::size_t kEndChars = 1 + kUuidChars + 1 + kRandomChars;
  file_name.remove_prefix(kAsidePrefix.size());
  return {"shm",
          {},
          std::string(file_name.substr(0, std::max(file_name.size(), kEndChars) - kEndChars))};
}

Result<void> check_aside(Os& os, std::string_view file_name, const SegmentStat& facts, int fd) {
  const auto refuse = [&](std::string_view why) {
    return fail(Code::failed_precondition, fmt::format("its name says that a removal was not "
                                                       "finished, but {}",
                                                       why));
  };
  if (facts.problem) return refuse(facts.problem->message());
  if (!facts.identity.payload_is_apart || !file_name.starts_with(aside_stem(facts))) {
    return refuse("its header does not");
  }
  STRATA_ASSIGN(const struct stat file, os.fstat(fd));
  if (file.st_nlink != 1) return refuse("the segment has another name");
  return {};
}

Result<void> finish_removal(Os& os, const ShmDirectory& directory, const std::string& file_name,
                            const SegmentStat& facts, int fd, const HugePayload& payload) {
  STRATA_TRY(check_aside(os, file_name, facts, fd));
  STRATA_TRY(absent_is_fine(payload.unlink(facts.owner_uid)));
  mark_retired(os, fd);
  return directory.unlink(file_name);
}

}  // namespace strata
