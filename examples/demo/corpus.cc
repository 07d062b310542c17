#include "examples/demo/corpus.h"

#include <fcntl.h>

#include <span>

#include "os/os.h"

namespace demo {
namespace {

using strata::Code;
using strata::Fd;
using strata::Os;
using strata::Result;

struct Entry {
  std::uint64_t offset_bytes;
  std::uint64_t bytes;
};

struct Directory {
  std::uint64_t count;
  // Entry[count], then the texts.
};

struct Source {
  Fd fd;
  std::uint64_t bytes;
};

Result<std::vector<Source>> open_all(Os& os, const std::vector<std::string>& files) {
  std::vector<Source> sources;
  for (const std::string& file : files) {
    STRATA_ASSIGN(Fd fd, os.open(file, O_RDONLY));
    STRATA_ASSIGN(const struct stat facts, os.fstat(fd.get()));
    sources.push_back({std::move(fd), static_cast<std::uint64_t>(facts.st_size)});
  }
  return sources;
}

Result<void> read_exactly(Os& os, int fd, std::span<std::byte> into) {
  for (std::uint64_t at = 0; at < into.size();) {
    STRATA_ASSIGN(const std::size_t got, os.pread(fd, into.subspan(at), at));
    if (got == 0)
      return strata::fail(Code::failed_precondition, "a file was cut while it was read");
    at += got;
  }
  return {};
}

}  // namespace

Result<void> load_corpus(strata::Catalog& catalog, Os& os, const std::string& uri,
                         const std::vector<std::string>& files) {
  STRATA_ASSIGN(const std::vector<Source> sources, open_all(os, files));
  std::uint64_t text_offset_bytes = sizeof(Directory) + sources.size() * sizeof(Entry);
  std::uint64_t total_bytes = text_offset_bytes;
  for (const Source& source : sources)
    total_bytes += source.bytes;

  // Until seal() nobody can attach: others see either nothing or everything.
  STRATA_ASSIGN(strata::Segment segment,
                catalog.create(uri, {.payload_bytes = total_bytes,
                                     .placement = strata::on_node(0),
                                     .publish = strata::Publish::by_creator}));
  STRATA_ASSIGN(const std::span<std::byte> bytes, segment.writable_bytes());
  auto* const directory = reinterpret_cast<Directory*>(bytes.data());
  auto* const entries = reinterpret_cast<Entry*>(directory + 1);
  directory->count = sources.size();
  for (std::size_t i = 0; i < sources.size(); ++i) {
    entries[i] = {.offset_bytes = text_offset_bytes, .bytes = sources[i].bytes};
    STRATA_TRY(
        read_exactly(os, sources[i].fd.get(), bytes.subspan(text_offset_bytes, sources[i].bytes)));
    text_offset_bytes += sources[i].bytes;
  }
  return segment.seal();
}

Result<std::vector<std::string_view>> texts_of(const strata::Segment& segment) {
  STRATA_ASSIGN(const std::span<const std::byte> bytes, segment.host_bytes());
  const auto* const directory = reinterpret_cast<const Directory*>(bytes.data());
  if (bytes.size() < sizeof(Directory) ||
      directory->count > (bytes.size() - sizeof(Directory)) / sizeof(Entry)) {
    return strata::fail(Code::corrupt, "the directory of texts is not within its segment");
  }
  const auto* const entries = reinterpret_cast<const Entry*>(directory + 1);
  std::vector<std::string_view> texts;
  for (std::uint64_t i = 0; i < directory->count; ++i) {
    const Entry entry = entries[i];
    if (entry.offset_bytes > bytes.size() || entry.bytes > bytes.size() - entry.offset_bytes)
      return strata::fail(Code::corrupt, "a text is not within its segment");
    texts.emplace_back(reinterpret_cast<const char*>(bytes.data()) + entry.offset_bytes,
                       entry.bytes);
  }
  return texts;
}

}  // namespace demo
