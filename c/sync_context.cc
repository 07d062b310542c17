// This process as a participant of a segment, and where the words of locks may stand.
#include <fmt/format.h>

#include "c/handles.h"

using namespace strata;
using namespace strata::c;

Result<std::span<std::byte>> strata_sync_context::room_at(void* address,
                                                          const char* argument) const {
  STRATA_TRY(check_pointer(address, argument));
  STRATA_ASSIGN(const std::span<std::byte> payload, segment.writable_bytes());
  const auto at = reinterpret_cast<std::uintptr_t>(address);
  const auto begin = reinterpret_cast<std::uintptr_t>(payload.data());
  if (at < begin || at - begin >= payload.size()) {
    return fail(Code::invalid_argument,
                fmt::format("`{}` does not lie in the {} bytes of {}: the context is of another "
                            "segment, or it has grown and was not refreshed",
                            argument, payload.size(), segment.uri().to_string()));
  }
  return payload.subspan(at - begin);
}

Result<void> strata_sync_context::check_place(const void* address, std::uint64_t bytes,
                                              std::uint64_t align, const char* argument) const {
  STRATA_ASSIGN(const std::span<std::byte> room, room_at(const_cast<void*>(address), argument));
  if (room.size() >= bytes && reinterpret_cast<std::uintptr_t>(address) % align == 0) return {};
  return fail(
      Code::invalid_argument,
      fmt::format("`{}` needs {} bytes, aligned to {}: it is at address {}, {} bytes before "
                  "the end of {}",
                  argument, bytes, align, address, room.size(), segment.uri().to_string()));
}

int strata_sync_context_open(strata_segment* segment, strata_sync_context** context) {
  return guarded(__func__, [&]() -> Result<void> {
    STRATA_TRY(check_handle(segment, "segment"));
    STRATA_TRY(check_pointer(context, "context"));
    if (segment->segment.access() == Access::copy_on_write) {
      return fail(Code::failed_precondition, "locks in " + segment->uri +
                                                 ": it is attached copy-on-write, and what this "
                                                 "process changes is seen by no other");
    }
    STRATA_ASSIGN(const std::span<std::byte> payload, segment->segment.writable_bytes());
    STRATA_ASSIGN(SyncContext joined, segment->segment.sync_context());
    *context = new strata_sync_context(segment->segment, std::move(joined), payload.data());
    return {};
  });
}

void strata_sync_context_close(strata_sync_context* context) { close_handle(context); }
