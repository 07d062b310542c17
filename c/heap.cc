// Blocks in a heap, and the heap itself.
#include <algorithm>

#include "c/handles.h"
#include "segment/attachment.h"
#include "strata/heap/heap_nodes.h"

using namespace strata;
using namespace strata::c;

int strata_heap_create(strata_segment* segment, const strata_heap_options* options,
                       strata_heap** heap) {
  return guarded(__func__, [&]() -> Result<void> {
    STRATA_TRY(check_handle(segment, "segment"));
    STRATA_TRY(check_pointer(heap, "heap"));
    STRATA_ASSIGN(const strata_heap_options from, read_options(options, "options"));
    HeapOptions checked;
    if (from.is_by_node != 0) {
      Os& os = attachment_of(segment->segment).plane->os();
      STRATA_ASSIGN(checked, heap_options_for(os, segment->segment));
    }
    checked.region_bytes = from.region_bytes;
    STRATA_ASSIGN(Heap made, Heap::create(segment->segment, checked));
    *heap = new strata_heap(std::move(made));
    return {};
  });
}

int strata_heap_open(strata_segment* segment, strata_heap** heap) {
  return guarded(__func__, [&]() -> Result<void> {
    STRATA_TRY(check_handle(segment, "segment"));
    STRATA_TRY(check_pointer(heap, "heap"));
    STRATA_ASSIGN(Heap opened, Heap::open(segment->segment));
    *heap = new strata_heap(std::move(opened));
    return {};
  });
}

void strata_heap_close(strata_heap* heap) { close_handle(heap); }

int strata_heap_allocate(strata_heap* heap, uint64_t bytes, uint64_t align_bytes,
                         uint64_t* offset) {
  return guarded(__func__, [&]() -> Result<void> {
    STRATA_TRY(check_handle(heap, "heap"));
    STRATA_TRY(check_pointer(offset, "offset"));
    STRATA_ASSIGN(const Offset<std::byte> block, heap->heap.allocate(bytes, align_bytes));
    *offset = block.bytes;
    return {};
  });
}

int strata_heap_free(strata_heap* heap, uint64_t offset) {
  return guarded(__func__, [&]() -> Result<void> {
    STRATA_TRY(check_handle(heap, "heap"));
    return heap->heap.free(Offset<std::byte>{offset});
  });
}

namespace {

// A word of the program's that holds an offset. The heap looks whether it lies in the segment.
Result<Offset<std::byte>*> offset_word(uint64_t* word) {
  static_assert(sizeof(Offset<std::byte>) == sizeof *word);
  STRATA_TRY(check_pointer(word, "word"));
  if (reinterpret_cast<std::uintptr_t>(word) % alignof(Offset<std::byte>) != 0)
    return fail(Code::invalid_argument, "`word` is not aligned to 8 bytes");
  return reinterpret_cast<Offset<std::byte>*>(word);
}

}  // namespace

int strata_heap_allocate_to(strata_heap* heap, uint64_t* word, uint64_t bytes,
                            uint64_t align_bytes) {
  return guarded(__func__, [&]() -> Result<void> {
    STRATA_TRY(check_handle(heap, "heap"));
    STRATA_ASSIGN(Offset<std::byte>* const destination, offset_word(word));
    return heap->heap.allocate_to(*destination, bytes, align_bytes);
  });
}

int strata_heap_free_from(strata_heap* heap, uint64_t* word) {
  return guarded(__func__, [&]() -> Result<void> {
    STRATA_TRY(check_handle(heap, "heap"));
    STRATA_ASSIGN(Offset<std::byte>* const source, offset_word(word));
    return heap->heap.free_from(*source);
  });
}

int strata_heap_usable_bytes(const strata_heap* heap, uint64_t offset, uint64_t* bytes) {
  return guarded(__func__, [&]() -> Result<void> {
    STRATA_TRY(check_handle(heap, "heap"));
    STRATA_TRY(check_pointer(bytes, "bytes"));
    STRATA_ASSIGN(*bytes, heap->heap.usable_bytes(Offset<std::byte>{offset}));
    return {};
  });
}

int strata_heap_address(const strata_heap* heap, uint64_t offset, uint64_t bytes, void** address) {
  return guarded(__func__, [&]() -> Result<void> {
    STRATA_TRY(check_handle(heap, "heap"));
    STRATA_TRY(check_pointer(address, "address"));
    void* const found = heap->heap.get(Offset<std::byte>{offset}, bytes);
    if (found == nullptr) {
      return fail(Code::invalid_argument, std::to_string(bytes) + " bytes at offset " +
                                              std::to_string(offset) + " are not in the heap");
    }
    *address = found;
    return {};
  });
}

int strata_heap_offset(const strata_heap* heap, const void* address, uint64_t* offset) {
  return guarded(__func__, [&]() -> Result<void> {
    STRATA_TRY(check_handle(heap, "heap"));
    STRATA_TRY(check_pointer(address, "address"));
    STRATA_TRY(check_pointer(offset, "offset"));
    const std::uint64_t at = heap->heap.offset_of(static_cast<const std::byte*>(address)).bytes;
    if (heap->heap.get(Offset<std::byte>{at}) != address)
      return fail(Code::invalid_argument, "`address` is not in the heap");
    *offset = at;
    return {};
  });
}

int strata_heap_recover(strata_heap* heap) {
  return guarded(__func__, [&]() -> Result<void> {
    STRATA_TRY(check_handle(heap, "heap"));
    STRATA_TRY(heap->heap.recover());
    return {};
  });
}

int strata_heap_check(const strata_heap* heap) {
  return guarded(__func__, [&]() -> Result<void> {
    STRATA_TRY(check_handle(heap, "heap"));
    STRATA_ASSIGN(const HeapReport report, heap->heap.check());
    if (report.is_consistent()) return {};
    const auto first = std::find_if(report.findings.begin(), report.findings.end(),
                                    [](const HeapFinding& finding) {
                                      return finding.kind != HeapFinding::Kind::hint &&
                                             finding.kind != HeapFinding::Kind::dead_owner;
                                    });
    return fail(Code::corrupt, first == report.findings.end()
                                   ? report.to_string()
                                   : report.to_string() + ": " + first->text);
  });
}

int strata_heap_make_transaction_log(strata_heap* heap, uint32_t slots, uint64_t slot_bytes) {
  return guarded(__func__, [&]() -> Result<void> {
    STRATA_TRY(check_handle(heap, "heap"));
    return heap->heap.make_transaction_log({.slot_count = slots, .slot_bytes = slot_bytes});
  });
}
