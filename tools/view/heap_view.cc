#include "tools/view/heap_view.h"

#include <algorithm>

#include "heap/layout.h"

namespace strata::inline v0_1::tools {

bool has_heap(const Segment& segment) {
  const auto bytes = segment.host_bytes();
  const auto magic = std::as_bytes(std::span(heap_layout::kHeapMagic));
  return bytes && bytes->size() >= magic.size() &&
         std::equal(magic.begin(), magic.end(), bytes->begin());
}

Result<Heap> open_heap(Segment& segment) {
  if (!has_heap(segment)) {
    return fail(Code::not_found, segment.uri().to_string() +
                                     " holds no heap: its bytes are those that were put there");
  }
  return Heap::open(segment);
}

Result<std::vector<NamedLock>> named_locks(const Heap& heap) {
  std::vector<NamedLock> locks;
  STRATA_ASSIGN(const std::vector<ObjectInfo> objects, heap.objects());
  for (const ObjectInfo& object : objects) {
    if (object.type != type_tag<RobustMutex>().name) continue;
    // find() checks the layout too: a lock of another version is left out.
    const auto lock = heap.find<RobustMutex>(object.name);
    if (!lock) continue;
    locks.push_back({object.name, (*lock)->report(), (*lock)->check().has_value()});
  }
  return locks;
}

}  // namespace strata::inline v0_1::tools
