// A buffer of somebody else's object, held while it is read.
#pragma once

#include <cstddef>
#include <span>

#include "core/errors.h"

namespace strata::python {

class HeldBuffer {
 public:
  // Errors: TypeError for what has no buffer; BufferError for one with gaps.
  explicit HeldBuffer(nb::handle object) {
    if (PyObject_GetBuffer(object.ptr(), &view_, PyBUF_C_CONTIGUOUS) != 0) throw nb::python_error();
  }
  HeldBuffer(const HeldBuffer&) = delete;
  HeldBuffer& operator=(const HeldBuffer&) = delete;
  ~HeldBuffer() { PyBuffer_Release(&view_); }

  std::span<const std::byte> bytes() const {
    return {static_cast<const std::byte*>(view_.buf), static_cast<std::size_t>(view_.len)};
  }

 private:
  Py_buffer view_{};
};

}  // namespace strata::python
