#include "pmem/export_file.h"

#include <fmt/format.h>

#include "pmem/new_file.h"
#include "pmem/parallel.h"
#include "pmem/verified_reader.h"

namespace strata::inline v0_1 {

Result<LoadReport> export_file(const Pool& pool, const std::string& name, std::uint64_t version,
                               const std::string& path, const ExportOptions& options) {
  const auto context = [&](const Status& status) {
    return unexpected(status.in(fmt::format("export {}#{} to {}", pool.path(), name, path)));
  };
  auto reader = VerifiedReader::open(pool, name, version);
  if (!reader) return context(reader.error());
  Os& os = pool.os();
  LoadReport report{reader->version(), reader->bytes(),
                    reader->has_checksums() ? reader->block_count() : 0};
  const WriteRequest request{path, options.replace, reader->pool_fd()};
  auto written = write_new_file(os, request, [&](int fd) -> Result<void> {
    const auto save = [&](std::uint64_t first, std::uint64_t last) -> Result<void> {
      for (std::uint64_t i = first; i < last; ++i) {
        const std::uint64_t at = i * reader->block_bytes();
        STRATA_ASSIGN(const auto block, reader->block_if_verifiable(i));
        STRATA_TRY(os.pwrite(fd, block, at));
        if (options.progress) options.progress(block.size());
      }
      return {};
    };
    return for_pieces(reader->block_count(), 64, options.threads, save);
  });
  if (!written) return context(written.error());
  return report;
}

}  // namespace strata::inline v0_1
