#include "pmem/file_blocks.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/falloc.h>

#include <algorithm>
#include <vector>

#include "strata/base/bytes.h"

namespace strata::inline v0_1 {

Result<void> fill_holes(Os& os, int fd, const struct stat& facts, const std::string& path) {
  constexpr std::uint64_t kStatBlockBytes = 512;
  const auto file_bytes = static_cast<std::uint64_t>(facts.st_size);
  if (static_cast<std::uint64_t>(facts.st_blocks) * kStatBlockBytes >= file_bytes) return {};
  const auto filled = os.fallocate(fd, 0, 0, file_bytes);
  if (filled || filled.error().code() == Code::unsupported) return {};
  return unexpected(filled.error().in(path + ": fill the holes of the file"));
}

Result<void> reserve_blocks(Os& os, int fd, std::uint64_t bytes) {
  const auto reserved = os.fallocate(fd, 0, 0, bytes);
  if (reserved || reserved.error().code() != Code::unsupported) return reserved;
  const std::vector<std::byte> zeros(MiB(1));
  for (std::uint64_t at = 0; at < bytes; at += zeros.size()) {
    STRATA_TRY(os.pwrite(fd, std::span(zeros).first(std::min(bytes - at, zeros.size())), at));
  }
  return {};
}

Result<void> unshare_blocks(Os& os, int fd, FileRange range, std::span<const FileRange> kept,
                            const std::string& path) {
  const auto shared = os.shared_extents(fd, range);
  if (!shared && shared.error().code() == Code::unsupported) return {};
  if (!shared) return unexpected(shared.error().in(path));
  const auto unshare = [&](std::uint64_t begin, std::uint64_t end) -> Result<void> {
    if (begin >= end) return {};
    const auto done = os.fallocate(fd, FALLOC_FL_UNSHARE_RANGE, begin, end - begin);
    if (done || done.error().code() == Code::unsupported) return {};
    return unexpected(done.error().in(
        fmt::format("{}: copy {} that it shares with a copy by reference, before they are written",
                    path, format_bytes(end - begin))));
  };
  for (const FileRange& extent : *shared) {
    std::uint64_t begin = extent.begin;
    for (const FileRange& each : kept) {
      if (each.end <= begin) continue;
      if (each.begin >= extent.end) break;
      STRATA_TRY(unshare(begin, each.begin));
      begin = std::max(begin, each.end);
    }
    STRATA_TRY(unshare(begin, extent.end));
  }
  return {};
}

}  // namespace strata::inline v0_1
