// strata.Segment: one attachment, as Python sees it.
//   Lifetime: views (memoryview, NumPy arrays, DLPack capsules) keep the memory mapped. close()
//             refuses new ones; the mapping ends with the last of them, also at exit.
#pragma once

#include <atomic>
#include <optional>
#include <string>
#include <vector>

#include "python/core/element.h"
#include "python/core/errors.h"
#include "strata/segment/content.h"
#include "strata/segment/segment.h"

namespace strata::python {

class PySegment {
 public:
  explicit PySegment(Segment segment);

  // Errors: ValueError once closed.
  Segment& open();
  const Segment& open() const { return const_cast<PySegment*>(this)->open(); }
  // Also of a closed one that views still hold.
  const Segment* mapped() const { return segment_ ? &*segment_ : nullptr; }

  const std::string& uri() const { return uri_; }
  bool is_device() const { return is_device_; }
  bool is_closed() const { return is_closed_; }
  void close();

  bool is_array() const { return content_.type == kArrayType; }
  const Content& content() const { return content_; }
  const Element& element() const { return element_; }
  // Of the payload as it is now: what grew, grew by rows.
  std::vector<std::uint64_t> shape() const;
  interop::ArrayLayout layout() const;
  bool is_writable() const;

  // Of buffers that others hold.
  void add_export() { ++exports_; }
  void drop_export();

 private:
  std::optional<Segment> segment_;
  std::string uri_;
  bool is_device_;
  Content content_;
  Element element_;
  std::atomic<std::uint64_t> exports_ = 0;
  bool is_closed_ = false;
};

void bind_segment(nb::module_& module);

}  // namespace strata::python
