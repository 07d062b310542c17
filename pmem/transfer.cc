#include "pmem/transfer.h"

#include <fcntl.h>
#include <fmt/format.h>

#include <algorithm>

#include "pmem/new_file.h"
#include "pmem/parallel.h"

namespace strata {

Result<CheckpointReport> import_file(const std::string& path, const Pool& pool,
                                     const std::string& name, const CheckpointOptions& options) {
  const auto context = [&](const Status& status) {
    return unexpected(status.in(fmt::format("import {} into {}#{}", path, pool.path(), name)));
  };
  Os& os = pool.os();
  auto fd = os.open(path, O_RDONLY);
  if (!fd) return context(fd.error());
  const auto facts = os.fstat(fd->get());
  if (!facts) return context(facts.error());
  if (!S_ISREG(facts->st_mode) || facts->st_size == 0) {
    return context(Status(Code::invalid_argument, "it is no file with at least one byte"));
  }
  // Mapped privately: a file that is truncated meanwhile must not be a reason to crash, so that
  // the bytes are read into memory rather than through the mapping.
  const auto bytes = static_cast<std::size_t>(facts->st_size);
  auto memory = os.mmap({.bytes = bytes, .flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE});
  if (!memory) return context(memory.error());
  const std::span<std::byte> content(*memory, bytes);
  const auto load = [&](std::uint64_t first, std::uint64_t last) -> Result<void> {
    STRATA_ASSIGN(const std::size_t got,
                  os.pread(fd->get(), content.subspan(first, last - first), first));
    if (got == last - first) return {};
    return fail(Code::failed_precondition, "it became shorter while it was read");
  };
  auto loaded = for_pieces(bytes, MiB(4), options.threads, load);
  auto report = loaded ? checkpoint(content, pool, name, options)
                       : Result<CheckpointReport>(unexpected(loaded.error()));
  (void)os.munmap(*memory, bytes);
  if (!report) return context(report.error());
  return report;
}

Result<RestoreReport> export_file(const Pool& pool, const std::string& name, std::uint64_t version,
                                  const std::string& path, const ExportOptions& options) {
  const auto context = [&](const Status& status) {
    return unexpected(status.in(fmt::format("export {}#{} to {}", pool.path(), name, path)));
  };
  auto reader = VerifiedReader::open(pool, name, version);
  if (!reader) return context(reader.error());
  Os& os = pool.os();
  RestoreReport report{reader->version(), reader->bytes(),
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

}  // namespace strata
