// Handing a segment to another process: over a socket, or as bytes and descriptors.
#include "strata/segment/handle.h"

#include "c/catalog_options.h"
#include "c/handles.h"
#include "os/os.h"
#include "segment/backend.h"
#include "strata/os/real_os.h"

using namespace strata;
using namespace strata::c;

namespace {

static_assert(STRATA_MAX_HANDLE_BYTES == kMaxHandleBytes);
static_assert(STRATA_MAX_HANDLE_DESCRIPTORS == kMaxHandleDescriptors);
static_assert(sizeof(strata_handle_info::locator) > kMaxLocatorBytes);

// The caller keeps its own.
Result<std::vector<Fd>> duplicates(const int* descriptors, std::size_t count) {
  std::vector<Fd> all;
  if (count > kMaxHandleDescriptors) return is_too_large("descriptor_count", count);
  if (count != 0) STRATA_TRY(check_pointer(descriptors, "descriptors"));
  for (const int descriptor : std::span(descriptors, count)) {
    STRATA_ASSIGN(Fd copy, real_os().dup(descriptor));
    all.push_back(std::move(copy));
  }
  return all;
}

}  // namespace

int strata_catalog_send(strata_catalog* catalog, const strata_segment* segment, int socket,
                        uint64_t timeout_ms) {
  return guarded(__func__, [&]() -> Result<void> {
    STRATA_TRY(check_handle(catalog, "catalog"));
    STRATA_TRY(check_handle(segment, "segment"));
    return catalog->catalog.send(segment->segment, socket, Deadline::after_ms(timeout_ms));
  });
}

int strata_catalog_receive(strata_catalog* catalog, int socket,
                           const strata_attach_options* options, uint64_t timeout_ms,
                           strata_segment** segment) {
  return guarded(__func__, [&]() -> Result<void> {
    STRATA_TRY(check_handle(catalog, "catalog"));
    STRATA_TRY(check_pointer(segment, "segment"));
    STRATA_ASSIGN(const AttachOptions checked, attach_options_of(options));
    STRATA_ASSIGN(Segment received,
                  catalog->catalog.receive(socket, checked, Deadline::after_ms(timeout_ms)));
    *segment = new strata_segment(std::move(received));
    return {};
  });
}

int strata_segment_handle(const strata_segment* segment, void* buffer, size_t capacity_bytes,
                          size_t* bytes) {
  return guarded(__func__, [&]() -> Result<void> {
    STRATA_TRY(check_handle(segment, "segment"));
    STRATA_TRY(check_pointer(bytes, "bytes"));
    STRATA_ASSIGN(const std::span<std::byte> into, bytes_at(buffer, capacity_bytes, "buffer"));
    STRATA_ASSIGN(const strata::Handle handle, segment->segment.handle());
    STRATA_ASSIGN(const std::vector<std::byte> encoded, encode(handle));
    *bytes = encoded.size();
    if (encoded.size() > into.size()) {
      return fail(Code::exhausted, "the handle has " + std::to_string(encoded.size()) +
                                       " bytes, `buffer` " + std::to_string(into.size()));
    }
    std::copy(encoded.begin(), encoded.end(), into.begin());
    return {};
  });
}

int strata_segment_descriptors(const strata_segment* segment,
                               int descriptors[STRATA_MAX_HANDLE_DESCRIPTORS], size_t* count) {
  return guarded(__func__, [&]() -> Result<void> {
    STRATA_TRY(check_handle(segment, "segment"));
    STRATA_TRY(check_pointer(descriptors, "descriptors"));
    STRATA_TRY(check_pointer(count, "count"));
    const std::vector<int> all = segment->segment.descriptors();
    *count = std::min(all.size(), kMaxHandleDescriptors);
    std::copy_n(all.begin(), *count, descriptors);
    return {};
  });
}

int strata_handle_decode(const void* handle, size_t bytes, strata_handle_info* info) {
  return guarded(__func__, [&]() -> Result<void> {
    STRATA_TRY(check_report(info, "info"));
    STRATA_ASSIGN(const std::span<const std::byte> given, bytes_at(handle, bytes, "handle"));
    STRATA_ASSIGN(const strata::Handle decoded, decode(given));
    strata_handle_info said{};
    said.kind = static_cast<std::uint32_t>(decoded.kind);
    said.access = static_cast<std::uint32_t>(decoded.access);
    copy_uuid(said.uuid, decoded.uuid);
    said.payload_bytes = decoded.payload_bytes;
    said.max_bytes = decoded.max_bytes;
    said.generation = decoded.generation;
    said.exporter_pid = decoded.exporter_pid;
    said.descriptor_count = decoded.descriptor_count;
    copy_text(said.locator, decoded.locator);
    fill_report(info, said);
    return {};
  });
}

int strata_catalog_attach_handle(strata_catalog* catalog, const void* handle, size_t bytes,
                                 const int* descriptors, size_t descriptor_count,
                                 const strata_attach_options* options, strata_segment** segment) {
  return guarded(__func__, [&]() -> Result<void> {
    STRATA_TRY(check_handle(catalog, "catalog"));
    STRATA_TRY(check_pointer(segment, "segment"));
    STRATA_ASSIGN(const std::span<const std::byte> given, bytes_at(handle, bytes, "handle"));
    STRATA_ASSIGN(const strata::Handle decoded, decode(given));
    STRATA_ASSIGN(const AttachOptions checked, attach_options_of(options));
    if (decoded.descriptor_count != descriptor_count) {
      return fail(Code::corrupt, std::to_string(decoded.descriptor_count) +
                                     " descriptors belong to the handle, " +
                                     std::to_string(descriptor_count) + " came");
    }
    STRATA_ASSIGN(std::vector<Fd> owned, duplicates(descriptors, descriptor_count));
    STRATA_ASSIGN(Backend* const backend, catalog->catalog.backend(kind_name(decoded.kind)));
    STRATA_ASSIGN(Segment made, backend->attach_handle(decoded, std::move(owned), checked));
    *segment = new strata_segment(std::move(made));
    return {};
  });
}
