#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>

#include "os/file_size_limit.h"
#include "tools/segment/segment_commands.h"

namespace strata::inline v0_1::tools {
namespace {

constexpr std::size_t kChunkBytes = 1 << 20;

Result<void> write_all(std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t written = write(STDOUT_FILENO, bytes.data(), std::min(bytes.size(), kChunkBytes));
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) {
      return unexpected(
          status_from_errno(errno, "write to standard output" + file_size_limit_hint(errno)));
    }
    bytes = bytes.subspan(static_cast<std::size_t>(written));
  }
  return {};
}

Result<ExitCode> cat(Context& context, const std::string& uri, std::uint64_t timeout_ms) {
  STRATA_ASSIGN(const Segment segment, context.catalog().attach(uri, {.access = Access::read_only,
                                                                      .timeout_ms = timeout_ms}));
  if (const auto bytes = segment.host_bytes()) {
    // Straight from the mapping: this process holds no copy.
    STRATA_TRY(write_all(*bytes));
    return ExitCode::done;
  }
  std::vector<std::byte> chunk(kChunkBytes);
  for (std::uint64_t at = 0; at < segment.payload_bytes(); at += chunk.size()) {
    const auto piece =
        std::span(chunk).first(std::min<std::uint64_t>(chunk.size(), segment.payload_bytes() - at));
    STRATA_TRY(segment.read(at, piece));
    STRATA_TRY(write_all(piece));
  }
  return ExitCode::done;
}

}  // namespace

void add_cat(Commands& commands) {
  const auto uri = std::make_shared<std::string>();
  const auto timeout_ms = std::make_shared<std::uint64_t>(1000);
  commands
      .add({.name = "cat",
            .summary = "write a segment's bytes to standard output",
            .description =
                "Exactly as many bytes as were put, raw, even under --json. It waits while "
                "the segment is being filled.",
            .examples = "strata cat shm:mesh > mesh.bin\n"
                        "strata cat shm:log | grep error",
            .other_names = {"get", "read"}},
           [=](Context& context) { return cat(context, *uri, *timeout_ms); })
      .word("URI", *uri, "the segment")
      .option_with_default("--timeout-ms", *timeout_ms, "how long to wait while it is being filled",
                           "MS");
}

}  // namespace strata::inline v0_1::tools
