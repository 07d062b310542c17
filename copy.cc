#include "strata/copy.h"

#include <fmt/format.h>

#include <algorithm>
#include <vector>

#include "copy_to_pool.h"
#include "gpu/cuda_payload.h"
#include "gpu/device_sink.h"
#include "pmem/parallel.h"
#include "strata/base/bytes.h"
#include "strata/segment/reclaim.h"
#include "version_source.h"

namespace strata::inline v0_1 {
namespace {

constexpr std::uint64_t kPieceBytes = MiB(4);

// Pools fill what has no name yet, which no other backend can.
PmemBackend* pools_of(Backend& backend) { return dynamic_cast<PmemBackend*>(&backend); }

auto exists(const SegmentUri& to) { return fail(Code::already_exists, to.to_string() + " exists"); }

// Straight to where the bytes stay.
Result<void> fill_host(ByteSource& from, std::span<std::byte> to, const FillOptions& options) {
  const auto piece = [&](std::uint64_t begin, std::uint64_t end) -> Result<void> {
    STRATA_TRY(from.read(begin, to.subspan(begin, end - begin)));
    if (options.progress) options.progress(end - begin);
    return {};
  };
  return for_pieces(to.size(), std::max(kPieceBytes, from.granule_bytes()),
                    from.is_sequential() ? 1 : options.threads, piece);
}

// Through a buffer, by one thread: only const members of a segment take several.
Result<void> fill_by_copies(ByteSource& from, std::uint64_t bytes, Segment& to,
                            const FillOptions& options) {
  const std::uint64_t piece_bytes = std::max(kPieceBytes, from.granule_bytes());
  std::vector<std::byte> buffer;
  for (std::uint64_t at = 0; at < bytes; at += piece_bytes) {
    const std::uint64_t count = std::min(piece_bytes, bytes - at);
    std::span<const std::byte> piece = from.view(at, count);
    if (piece.empty()) {
      buffer.resize(count);
      STRATA_TRY(from.read(at, buffer));
      piece = buffer;
    }
    STRATA_TRY(to.write(at, piece));
    if (options.progress) options.progress(count);
  }
  return {};
}

// Into pinned buffers, by several threads; the device takes it from there meanwhile. `to` may be
// written to.
Result<void> fill_device(ByteSource& from, std::uint64_t bytes, const CudaPayload& to,
                         const FillOptions& options) {
  cuda::DeviceSink sink(to.staging(), to.address());
  const auto piece = [&](std::uint64_t begin, std::uint64_t end) -> Result<void> {
    STRATA_TRY(sink.put(begin, end - begin,
                        [&](std::span<std::byte> into) { return from.read(begin, into); }));
    if (options.progress) options.progress(end - begin);
    return {};
  };
  const std::uint64_t granule = from.granule_bytes();
  STRATA_TRY(for_pieces(bytes, sink.piece_bytes() / granule * granule,
                        from.is_sequential() ? 1 : options.threads, piece));
  return sink.finish();
}

// What `to` keeps from the host.
Result<void> fill_hidden(ByteSource& from, std::uint64_t bytes, Segment& to,
                         const FillOptions& options) {
  const auto payload = CudaPayload::of(to);
  if (!payload || from.granule_bytes() > (*payload)->staging()->buffers().buffer_bytes()) {
    return fill_by_copies(from, bytes, to, options);
  }
  STRATA_TRY(to.write(0, {}));  // whether it may be
  return fill_device(from, bytes, **payload, options);
}

// `from` has a length, and `to` room for it.
Result<void> fill_segment(ByteSource& from, Segment& to, const FillOptions& options) {
  const std::uint64_t bytes = *from.bytes();
  if (!to.capabilities().has(Capability::host_bytes)) {
    STRATA_TRY(fill_hidden(from, bytes, to, options));
  } else {
    STRATA_ASSIGN(const std::span<std::byte> into, to.writable_bytes());
    STRATA_TRY(fill_host(from, into.first(bytes), options));
  }
  return from.finish();
}

Result<CopyReport> into_new(Backend& backend, ByteSource& from, const SegmentUri& to,
                            CopyOptions options) {
  if (auto* const pools = pools_of(backend)) {
    return copy_into_pool(*pools, from, to, options);
  }
  // Until all bytes are there attachers wait, and what is left by a kill is nobody's.
  options.create.publish = Publish::by_creator;
  const bool is_on_device = backend.capabilities().has(Capability::device_bytes);
  if (is_on_device) options.create.device.is_filled_by_creator = true;
  STRATA_ASSIGN(Segment segment, backend.create(to, options.create));
  const auto filled = [&]() -> Result<void> {
    STRATA_TRY(fill_segment(from, segment, {options.threads, options.progress}));
    if (options.finish == CopyFinish::publish) return segment.publish();
    return segment.seal(Deadline::after_ms(options.timeout_ms));
  }();
  if (!filled) {
    // Half of it under its name would be worse than none.
    (void)backend.remove(to, {.even_if_attached = true, .uuid = segment.identity().uuid});
    return unexpected(filled.error());
  }
  return CopyReport{
      .bytes = segment.payload_bytes(), .was_created = true, .state = segment.state()};
}

// Whoever is attached goes by what the header says, which never changes.
Result<void> check_is_the_same(const Segment& to, const Content& wanted, std::uint64_t bytes) {
  STRATA_ASSIGN(const Content has, read_content_block(header_page_of(to), to.identity(), bytes));
  const bool is_the_same = has.to_string() == wanted.to_string();
  if (is_the_same || has.is_plain() || wanted.is_plain()) return {};
  return fail(Code::failed_precondition,
              fmt::format("{} would hold {}, and this is {}: remove it first, or take another name",
                          to.uri().to_string(), has.to_string(), wanted.to_string()));
}

// It must come out with exactly the source's length: a reader gets back all of it and no more.
Result<CopyReport> into_existing(Backend& backend, ByteSource& from, const SegmentUri& to,
                                 const CopyOptions& options) {
  const std::uint64_t bytes = *from.bytes();
  STRATA_ASSIGN(Segment segment, backend.attach(to, {}));
  const std::uint64_t now = segment.payload_bytes();
  if (now > bytes || segment.max_bytes() < bytes) {
    return fail(
        Code::failed_precondition,
        fmt::format("{} exists with {} and can{}; there are {}: remove it first", to.to_string(),
                    format_bytes(now),
                    now > bytes ? "not shrink" : " grow to " + format_bytes(segment.max_bytes()),
                    format_bytes(bytes)));
  }
  STRATA_TRY(check_is_the_same(segment, options.create.content, bytes));
  if (now < bytes) STRATA_TRY(segment.grow(bytes, Deadline::after_ms(options.timeout_ms)));
  auto filled = fill_segment(from, segment, {options.threads, options.progress});
  if (filled) filled = segment.settle();
  if (!filled) {
    return unexpected(filled.error().in(
        fmt::format("{} may hold a part of {} by now", to.to_string(), from.name())));
  }
  return CopyReport{.bytes = bytes, .state = segment.state()};
}

// What a creator left behind that died is as good as nothing: the next one takes its place.
bool is_there(Backend& backend, const SegmentUri& to) {
  const auto found = backend.stat(to);
  return found && !judge(*found, {}).is_orphan;
}

Result<CopyReport> into_named(Backend& backend, ByteSource& from, const SegmentUri& to,
                              const CopyOptions& options) {
  // Asked first (by copy() where that is the end), since to create is much work that would be for
  // nothing; create decides.
  if (options.if_exists == IfExists::refuse || !is_there(backend, to)) {
    auto made = into_new(backend, from, to, options);
    if (made || made.error().code() != Code::already_exists) return made;
  }
  if (options.if_exists == IfExists::overwrite) return into_existing(backend, from, to, options);
  return exists(to);
}

Result<CopyReport> into_version(Backend& backend, ByteSource& from, const SegmentUri& to,
                                const CopyOptions& options) {
  if (auto* const pools = pools_of(backend)) return copy_to_version(*pools, from, to, options);
  return fail(Code::unsupported, to.scheme + ": keeps no versions");
}

Result<void> check(const Backend& backend, const CopyOptions& options) {
  const Lifetime lifetime =
      options.create.lifetime.value_or(backend.capabilities().default_lifetime());
  if (lifetime == Lifetime::process || lifetime == Lifetime::last_detach) {
    return fail(Code::invalid_argument,
                "with this lifetime the segment would be gone when the copy ends: create it, and "
                "copy into it while you hold it");
  }
  if (options.finish == CopyFinish::seal && options.if_exists != IfExists::refuse) {
    return fail(Code::invalid_argument,
                "only a new segment is sealed: one that exists is overwritten first, and may then "
                "refuse");
  }
  return {};
}

// More than this the target cannot hold, so that there is no use in keeping it.
std::uint64_t most_bytes(Backend& backend, const SegmentUri& to, const CopyOptions& options) {
  if (options.if_exists == IfExists::overwrite) {
    const auto found = backend.stat(to);
    if (found && !found->problem) return found->identity.max_bytes;
  }
  if (options.create.max_bytes != 0) return options.create.max_bytes;
  auto* const pools = pools_of(backend);
  if (pools == nullptr) return ByteSource::kAsMemory;
  const Pool pool = pools->pool(to.container);
  const auto file = pool.os().stat(pool.path());
  return file ? static_cast<std::uint64_t>(file->st_size) : 0;
}

}  // namespace

Result<CopyReport> copy(Catalog& catalog, ByteSource& from, const SegmentUri& to,
                        const CopyOptions& asked) {
  STRATA_TRY(check_name(to.name));
  STRATA_ASSIGN(Backend* const found, catalog.backend(to.scheme));
  Backend& backend = *found;
  STRATA_TRY(check(backend, asked));
  if (asked.if_exists == IfExists::refuse && is_there(backend, to)) return exists(to);
  if (!from.bytes()) {
    STRATA_TRY(from.find_length(most_bytes(backend, to, asked), asked.keep_progress));
  }
  CopyOptions options = asked;
  options.create.payload_bytes = *from.bytes();
  if (options.create.content.is_plain()) {
    STRATA_ASSIGN(const Content* const said, from.content());
    if (said != nullptr) options.create.content = *said;
  }
  auto copied = options.if_exists == IfExists::new_version
                    ? into_version(backend, from, to, options)
                    : into_named(backend, from, to, options);
  if (copied) copied->blocks_verified = from.blocks_verified();
  return copied;
}

Result<CopyReport> copy(Catalog& catalog, ByteSource& from, std::string_view to,
                        const CopyOptions& options) {
  STRATA_ASSIGN(const SegmentUri uri, SegmentUri::parse(to));
  return copy(catalog, from, uri, options);
}

Result<void> copy(ByteSource& from, Segment& to, const FillOptions& options) {
  STRATA_TRY(from.find_length(to.payload_bytes(), {}));
  const std::uint64_t bytes = from.bytes().value_or(0);
  if (to.payload_bytes() < bytes) {
    return fail(Code::invalid_argument,
                fmt::format("{} bytes do not fit into {}", bytes, to.payload_bytes()));
  }
  STRATA_TRY(fill_segment(from, to, options));
  return to.settle();
}

Result<CheckpointReport> checkpoint(const Segment& from, const Pool& pool, const std::string& name,
                                    const CheckpointOptions& options) {
  SegmentSource source(from);
  auto report = checkpoint(source, pool, name, options);
  if (!report) return unexpected(report.error().in("checkpoint " + from.uri().to_string()));
  return report;
}

Result<LoadReport> load_version(const Pool& pool, const std::string& name, std::uint64_t version,
                                Segment& to, const LoadOptions& options) {
  const auto report = [&]() -> Result<LoadReport> {
    STRATA_ASSIGN(VersionSource source, VersionSource::open(pool, name, version, options));
    STRATA_TRY(copy(source, to, {options.threads, options.progress}));
    return LoadReport{source.version(), *source.bytes(), source.blocks_verified()};
  }();
  if (!report) return unexpected(report.error().in("restore to " + to.uri().to_string()));
  return report;
}

}  // namespace strata::inline v0_1
