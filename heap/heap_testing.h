// What the tests and benchmarks of heap/ share: segments without a name, and children that open
// the heap in them as any other process would.
#pragma once

#include <memory>
#include <string>
#include <utility>

#include "base/check.h"
#include "segment/fake_backend.h"
#include "strata/heap/heap.h"
#include "sync/sync_testing.h"

namespace strata::inline v0_1::test {

// A segment that forked children can attach, each as a participant of its own.
class HeapHost {
 public:
  explicit HeapHost(std::uint64_t bytes = MiB(4), std::uint64_t max_bytes = 0)
      : backend_(os_),
        segment_(
            backend_
                .create(uri(),
                        {.payload_bytes = bytes, .max_bytes = max_bytes, .commit = Commit::sparse})
                .value()) {}

  Segment& segment() { return segment_; }
  Segment attach(Access access = Access::read_write) {
    return backend_.attach(uri(), {.access = access}).value();
  }
  Result<Segment> try_attach() { return backend_.attach(uri(), {}); }
  std::byte* bytes() { return segment_.writable_bytes().value().data(); }

 private:
  static SegmentUri uri() { return SegmentUri::parse("fake:heap").value(); }

  RealOs os_;
  FakeBackend backend_;
  Segment segment_;
};

// A heap opened by a child (or a second time by this process): the segment first, then the heap.
struct Opened {
  explicit Opened(HeapHost& host)
      : segment(std::make_unique<Segment>(host.attach())), heap(Heap::open(*segment).value()) {}
  std::unique_ptr<Segment> segment;
  Heap heap;
};

}  // namespace strata::inline v0_1::test
