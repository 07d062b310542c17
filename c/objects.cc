// Objects with names, of types that are told apart at run time.
#include <fmt/format.h>

#include <bit>

#include "c/handles.h"

using namespace strata;
using namespace strata::c;

namespace {

constexpr std::uint32_t kMaxAlignBytes = 4096;

// It refers to the text of `given`.
Result<TypeTag> tag_of(const strata_type* given) {
  STRATA_TRY(check_pointer(given, "type"));
  STRATA_ASSIGN(const strata_type from, read_options(given, "type"));
  STRATA_ASSIGN(const std::string_view name, text(from.name, "type->name"));
  if (name.empty()) return fail(Code::invalid_argument, "`type->name` is empty");
  if (from.bytes == 0) return fail(Code::invalid_argument, "`type->bytes` is 0");
  if (from.reserved != 0) return is_too_large("type->reserved", from.reserved);
  if (!std::has_single_bit(from.align_bytes) || from.align_bytes > kMaxAlignBytes) {
    return fail(Code::invalid_argument,
                fmt::format("`type->align_bytes` is {}: a power of two up to {} is allowed",
                            from.align_bytes, kMaxAlignBytes));
  }
  return make_type_tag(name, from.bytes, from.align_bytes, from.version);
}

Result<void*> make(Heap& heap, std::string_view name, const TypeTag& type, const void* initial) {
  STRATA_ASSIGN(Heap::Draft draft, heap.begin_object(name, type));
  if (initial != nullptr) {
    std::memcpy(draft.memory(), initial, type.bytes);
  } else {
    std::memset(draft.memory(), 0, type.bytes);
  }
  STRATA_TRY(heap.publish(draft));
  return draft.memory();
}

strata_object_info info_of(const ObjectInfo& object) {
  strata_object_info info{};
  info.size = sizeof info;
  copy_text(info.name, object.name);
  copy_text(info.type, object.type);
  info.offset_bytes = object.offset_bytes;
  info.bytes = object.bytes;
  info.align_bytes = object.align_bytes;
  return info;
}

}  // namespace

int strata_heap_make(strata_heap* heap, const char* name, const strata_type* type,
                     const void* initial, void** object) {
  return guarded(__func__, [&]() -> Result<void> {
    STRATA_TRY(check_handle(heap, "heap"));
    STRATA_ASSIGN(const std::string_view called, text(name, "name"));
    STRATA_ASSIGN(const TypeTag tag, tag_of(type));
    STRATA_ASSIGN(void* const made, make(heap->heap, called, tag, initial));
    if (object != nullptr) *object = made;
    return {};
  });
}

int strata_heap_find(const strata_heap* heap, const char* name, const strata_type* type,
                     void** object) {
  return guarded(__func__, [&]() -> Result<void> {
    STRATA_TRY(check_handle(heap, "heap"));
    STRATA_TRY(check_pointer(object, "object"));
    STRATA_ASSIGN(const std::string_view called, text(name, "name"));
    STRATA_ASSIGN(const TypeTag tag, tag_of(type));
    STRATA_ASSIGN(*object, heap->heap.find(called, tag));
    return {};
  });
}

int strata_heap_find_or_make(strata_heap* heap, const char* name, const strata_type* type,
                             const void* initial, void** object) {
  return guarded(__func__, [&]() -> Result<void> {
    STRATA_TRY(check_handle(heap, "heap"));
    STRATA_TRY(check_pointer(object, "object"));
    STRATA_ASSIGN(const std::string_view called, text(name, "name"));
    STRATA_ASSIGN(const TypeTag tag, tag_of(type));
    while (true) {
      auto found = heap->heap.find(called, tag);
      if (!found && found.error().code() == Code::not_found) {
        found = make(heap->heap, called, tag, initial);
        // Somebody else was quicker.
        if (!found && found.error().code() == Code::already_exists) continue;
      }
      STRATA_ASSIGN(*object, std::move(found));
      return {};
    }
  });
}

int strata_heap_remove(strata_heap* heap, const char* name, const strata_type* type) {
  return guarded(__func__, [&]() -> Result<void> {
    STRATA_TRY(check_handle(heap, "heap"));
    STRATA_ASSIGN(const std::string_view called, text(name, "name"));
    if (type == nullptr) return heap->heap.remove(called);
    STRATA_ASSIGN(const TypeTag tag, tag_of(type));
    return heap->heap.remove(called, tag);
  });
}

int strata_heap_begin(strata_heap* heap, const char* name, const strata_type* type,
                      strata_draft** draft, void** object) {
  return guarded(__func__, [&]() -> Result<void> {
    STRATA_TRY(check_handle(heap, "heap"));
    STRATA_TRY(check_pointer(draft, "draft"));
    STRATA_TRY(check_pointer(object, "object"));
    STRATA_ASSIGN(const std::string_view called, text(name, "name"));
    STRATA_ASSIGN(const TypeTag tag, tag_of(type));
    STRATA_ASSIGN(Heap::Draft begun, heap->heap.begin_object(called, tag));
    *draft = new strata_draft(heap->heap, std::move(begun));
    *object = (*draft)->draft.memory();
    return {};
  });
}

int strata_draft_publish(strata_draft* draft) {
  return guarded(__func__, [&]() -> Result<void> {
    STRATA_TRY(check_handle(draft, "draft"));
    return draft->heap.publish(draft->draft);
  });
}

void strata_draft_close(strata_draft* draft) { close_handle(draft); }

int strata_heap_stat(const strata_heap* heap, const char* name, strata_object_info* info) {
  return guarded(__func__, [&]() -> Result<void> {
    STRATA_TRY(check_handle(heap, "heap"));
    STRATA_TRY(check_report(info, "info"));
    STRATA_ASSIGN(const std::string_view called, text(name, "name"));
    STRATA_ASSIGN(const ObjectInfo found, heap->heap.stat(called));
    fill_report(info, info_of(found));
    return {};
  });
}

int strata_heap_list(const strata_heap* heap, strata_object_visitor visit, void* user) {
  return guarded(__func__, [&]() -> Result<void> {
    STRATA_TRY(check_handle(heap, "heap"));
    if (visit == nullptr) return is_null("visit");
    STRATA_ASSIGN(const std::vector<ObjectInfo> objects, heap->heap.objects());
    for (const ObjectInfo& object : objects) {
      const strata_object_info info = info_of(object);
      if (visit(&info, user) != 0) break;
    }
    return {};
  });
}
