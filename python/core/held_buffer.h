// A buffer of somebody else (bytes, an array, a memoryview), held while it is read.
//   Threads:  made and ended under the GIL; its bytes may be read without.
//   Errors:   TypeError for what has none; BufferError where it has gaps.
#pragma once

#include <cstddef>
#include <span>

#include "python/core/errors.h"

namespace strata::python {

class HeldBuffer {
 public:
  explicit HeldBuffer(nb::handle object, int flags = PyBUF_C_CONTIGUOUS) {
    if (PyObject_GetBuffer(object.ptr(), &view_, flags) != 0) throw nb::python_error();
  }
  HeldBuffer(const HeldBuffer&) = delete;
  HeldBuffer& operator=(const HeldBuffer&) = delete;
  ~HeldBuffer() { PyBuffer_Release(&view_); }

  std::span<const std::byte> bytes() const {
    return {static_cast<const std::byte*>(view_.buf), static_cast<std::size_t>(view_.len)};
  }
  const Py_buffer& view() const { return view_; }

 private:
  Py_buffer view_{};
};

}  // namespace strata::python
