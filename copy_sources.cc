#include "strata/copy_sources.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <vector>

#include "gpu/cuda_payload.h"
#include "gpu/device_source.h"
#include "numa/sysfs.h"
#include "os/os.h"
#include "pmem/verified_reader.h"
#include "strata/base/bytes.h"
#include "strata/os/real_os.h"
#include "version_source.h"

namespace strata::inline v0_1 {
namespace {

constexpr std::uint64_t kSpoolPieceBytes = MiB(1);

class FileSource final : public ByteSource {
 public:
  FileSource(Os& os, Fd fd, std::string name, std::uint64_t begin_bytes, std::uint64_t bytes)
      : os_(os), fd_(std::move(fd)), name_(std::move(name)), begin_(begin_bytes), bytes_(bytes) {}
  std::string name() const override { return name_; }
  std::optional<std::uint64_t> bytes() const override { return bytes_; }
  Result<void> read(std::uint64_t offset_bytes, std::span<std::byte> into) override {
    const std::uint64_t at = begin_ + offset_bytes;
    STRATA_ASSIGN(const std::size_t got, os_.pread(fd_.get(), into, at));
    if (got == into.size()) return {};
    return fail(Code::failed_precondition,
                fmt::format("the file ends at byte {}: it was cut while it was read", at + got));
  }

 private:
  Os& os_;
  Fd fd_;
  std::string name_;
  std::uint64_t begin_;
  std::uint64_t bytes_;
};

std::uint64_t memory_bytes(Os& os) {
  const auto text = os.read_file("/proc/meminfo");
  if (!text) return ByteSource::kAsMemory;
  return meminfo_bytes(*text, "MemTotal").value_or(ByteSource::kAsMemory);
}

std::string spool_folder() {
  const char* const folder = std::getenv("TMPDIR");
  return folder != nullptr && *folder != '\0' ? folder : "/tmp";
}

class StreamSource final : public ByteSource {
 public:
  StreamSource(Os& os, Fd fd, std::string name, std::optional<std::uint64_t> bytes)
      : os_(os), fd_(std::move(fd)), name_(std::move(name)), bytes_(bytes) {}
  std::string name() const override { return name_; }
  std::optional<std::uint64_t> bytes() const override { return bytes_; }
  bool is_sequential() const override { return !spool_; }

  Result<void> find_length(std::uint64_t limit_bytes, const ProgressFn& progress) override {
    if (bytes_) return {};
    if (limit_bytes == kAsMemory) limit_bytes = memory_bytes(os_);
    const std::string folder = spool_folder();
    auto kept = os_.open(folder, O_TMPFILE | O_RDWR, 0600);
    auto length = kept ? keep_all(kept->get(), limit_bytes, progress)
                       : Result<std::uint64_t>(unexpected(kept.error()));
    if (!length) {
      return unexpected(length.error().in(fmt::format(
          "keep what comes in {} until its length is known (tell its size, or set TMPDIR to a "
          "folder with more room)",
          folder)));
    }
    if (*length == 0) {
      return fail(Code::invalid_argument, "it is empty, and a segment holds at least one byte");
    }
    bytes_ = *length;
    spool_.emplace(os_, std::move(*kept), name_, 0, *length);
    return {};
  }

  Result<void> read(std::uint64_t offset_bytes, std::span<std::byte> into) override {
    if (spool_) return spool_->read(offset_bytes, into);
    if (offset_bytes != position_) {
      return fail(Code::internal, fmt::format("a stream at byte {} was asked for byte {}",
                                              position_, offset_bytes));
    }
    while (!into.empty()) {
      STRATA_ASSIGN(const std::size_t got, os_.read(fd_.get(), into));
      if (got == 0) {
        return fail(Code::failed_precondition,
                    fmt::format("it ended after {} of {} bytes", position_, *bytes_));
      }
      position_ += got;
      into = into.subspan(got);
    }
    return {};
  }

  Result<void> finish() override {
    if (spool_) return {};
    std::byte one{};
    STRATA_ASSIGN(const std::size_t got, os_.read(fd_.get(), {&one, 1}));
    if (got == 0) return {};
    return fail(Code::failed_precondition, fmt::format("it goes on after {} bytes", *bytes_));
  }

 private:
  Result<std::uint64_t> keep_all(int fd, std::uint64_t limit_bytes, const ProgressFn& progress) {
    std::vector<std::byte> buffer(kSpoolPieceBytes);
    std::uint64_t length = 0;
    while (true) {
      STRATA_ASSIGN(const std::size_t got, os_.read(fd_.get(), buffer));
      if (got == 0) return length;
      if (got > limit_bytes - length) {
        return fail(Code::exhausted,
                    fmt::format("there is room for {}, and more came", format_bytes(limit_bytes)));
      }
      STRATA_TRY(os_.pwrite(fd, std::span(buffer).first(got), length));
      length += got;
      if (progress) progress(got);
    }
  }

  Os& os_;
  Fd fd_;
  std::string name_;
  std::optional<std::uint64_t> bytes_;
  std::uint64_t position_ = 0;
  std::optional<FileSource> spool_;
};

Result<std::unique_ptr<ByteSource>> open_regular(Os& os, Fd fd, const std::string& name,
                                                 std::uint64_t file_bytes,
                                                 std::optional<std::uint64_t> bytes) {
  STRATA_ASSIGN(const std::uint64_t begin, os.position(fd.get()));
  const std::uint64_t left = file_bytes - std::min(begin, file_bytes);
  if (left == 0) {
    return fail(Code::invalid_argument, "it is empty, and a segment holds at least one byte");
  }
  if (bytes && *bytes != left) {
    return fail(Code::invalid_argument, fmt::format("it has {} bytes, not {}", left, *bytes));
  }
  return std::make_unique<FileSource>(os, std::move(fd), name, begin, left);
}

}  // namespace

Result<std::unique_ptr<ByteSource>> open_source(const std::string& path,
                                                std::optional<std::uint64_t> bytes) {
  return open_source(real_os(), path, bytes);
}

Result<std::unique_ptr<ByteSource>> open_source(Os& os, const std::string& path,
                                                std::optional<std::uint64_t> bytes) {
  if (path == "-") {
    STRATA_ASSIGN(Fd fd, os.dup(STDIN_FILENO));
    return open_source(os, std::move(fd), "standard input", bytes);
  }
  STRATA_ASSIGN(Fd fd, os.open(path, O_RDONLY));
  return open_source(os, std::move(fd), path, bytes);
}

Result<std::unique_ptr<ByteSource>> open_source(Os& os, Fd fd, const std::string& name,
                                                std::optional<std::uint64_t> bytes) {
  STRATA_ASSIGN(const struct stat facts, os.fstat(fd.get()));
  if (S_ISDIR(facts.st_mode)) return fail(Code::invalid_argument, "it is a folder");
  if (bytes && *bytes == 0) {
    return fail(Code::invalid_argument, "a segment holds at least one byte");
  }
  if (S_ISREG(facts.st_mode)) {
    return open_regular(os, std::move(fd), name, static_cast<std::uint64_t>(facts.st_size), bytes);
  }
  return std::make_unique<StreamSource>(os, std::move(fd), name, bytes);
}

SegmentSource::SegmentSource(const Segment& segment)
    : segment_(segment.share()), bytes_(segment.payload_bytes()), content_(segment.content()) {
  if (const auto bytes = segment_.host_bytes()) {
    host_ = bytes->first(bytes_);
  } else if (const auto payload = CudaPayload::of(segment_)) {
    device_ = std::make_unique<cuda::DeviceSource>((*payload)->staging(), name(),
                                                   (*payload)->address(), bytes_);
  }
}

Result<const Content*> SegmentSource::content() const {
  if (!content_) return unexpected(content_.error());
  return &*content_;
}

Result<void> SegmentSource::read(std::uint64_t offset_bytes, std::span<std::byte> into) {
  return segment_.read(offset_bytes, into);
}

std::span<const std::byte> SegmentSource::view(std::uint64_t offset_bytes,
                                               std::uint64_t bytes) const {
  return host_.empty() ? host_ : host_.subspan(offset_bytes, bytes);
}

Result<LentBytes> SegmentSource::lend(std::uint64_t offset_bytes, std::uint64_t bytes) {
  if (!device_) return LentBytes();
  return device_->lend(offset_bytes, bytes);
}

Result<VersionSource> VersionSource::open(const Pool& pool, const std::string& name,
                                          std::uint64_t version, const LoadOptions& options) {
  STRATA_ASSIGN(VerifiedReader reader, VerifiedReader::open(pool, name, version, options.deadline));
  if (!reader.has_checksums() && !options.even_if_unverified) {
    return fail(
        Code::failed_precondition,
        fmt::format("{}#{} was not checkpointed, so that it has no checksums", pool.path(), name));
  }
  return VersionSource(std::move(reader));
}

Result<const Content*> VersionSource::content() const {
  if (!content_) return unexpected(content_.error().in(name()));
  return &*content_;
}

Result<void> VersionSource::read(std::uint64_t offset_bytes, std::span<std::byte> into) {
  const std::uint64_t block = reader_.block_bytes();
  const std::uint64_t end = offset_bytes + into.size();
  const bool is_whole = offset_bytes % block == 0 && (end % block == 0 || end == reader_.bytes());
  if (is_whole) return reader_.copy_blocks(offset_bytes / block, (end + block - 1) / block, into);
  if (reader_.has_checksums()) return reader_.read(offset_bytes, into);
  std::memcpy(into.data(), reader_.unverified().data() + offset_bytes, into.size());
  return {};
}

Result<std::unique_ptr<ByteSource>> open_version(const Pool& pool, const std::string& name,
                                                 std::uint64_t version,
                                                 const LoadOptions& options) {
  STRATA_ASSIGN(VersionSource source, VersionSource::open(pool, name, version, options));
  return std::make_unique<VersionSource>(std::move(source));
}

}  // namespace strata::inline v0_1
