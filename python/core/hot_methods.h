// acquire(), release() and `with` of what is locked. They are bound by hand: by nanobind a call
// takes some 20 ns more, which is as long as what it does.
//   Threads:  with the GIL.
// T has `bool acquire(Timeout)` and `void release()`. Where it has `void release_many(uint32_t)`
// too, release() takes an n.
#pragma once

#include <cstdint>
#include <limits>
#include <string>

#include "python/core/errors.h"
#include "python/core/wait.h"

namespace strata::python {

template <typename T>
class HotMethods {
 public:
  static PyType_Slot* slots() { return slots_; }

 private:
  // The object behind `self`, which __new__ alone does not make.
  static T& object(PyObject* self) {
    if (!nb::inst_ready(self)) [[unlikely]] {
      PyErr_Format(PyExc_ValueError, "%s.__init__() has not been called",
                   nb::inst_name(self).c_str());
      throw nb::python_error();
    }
    return *nb::inst_ptr<T>(self);
  }

  // No exception of C++ reaches the interpreter.
  template <typename Work>
  static PyObject* guarded(Work&& work) noexcept {
    try {
      return work();
    } catch (nb::python_error& error) {
      error.restore();
    } catch (const std::exception& error) {
      PyErr_SetString(PyExc_RuntimeError, error.what());
    }
    return nullptr;
  }

  static PyObject* acquire(PyObject* self, PyObject* const* args, Py_ssize_t count,
                           PyObject* names) noexcept {
    return guarded([&] {
      const bool is_plain = count == 0 && names == nullptr;
      const Timeout timeout = is_plain ? Timeout::for_ever() : parse(args, count, names);
      return Py_NewRef(object(self).acquire(timeout) ? Py_True : Py_False);
    });
  }

  static Timeout parse(PyObject* const* args, Py_ssize_t count, PyObject* names) {
    PyObject* blocking = Py_True;
    PyObject* timeout = Py_None;
    if (count > 2) {
      PyErr_Format(PyExc_TypeError, "acquire() takes at most 2 arguments (%zd given)", count);
      throw nb::python_error();
    }
    if (count > 0) blocking = args[0];
    if (count > 1) timeout = args[1];
    const Py_ssize_t named = names == nullptr ? 0 : PyTuple_Size(names);
    for (Py_ssize_t i = 0; i < named; ++i) {
      PyObject* const name = PyTuple_GetItem(names, i);
      // "block" as multiprocessing has it, "blocking" as threading has it.
      if (PyUnicode_CompareWithASCIIString(name, "timeout") == 0 && count < 2) {
        timeout = args[count + i];
      } else if ((PyUnicode_CompareWithASCIIString(name, "blocking") == 0 ||
                  PyUnicode_CompareWithASCIIString(name, "block") == 0) &&
                 count < 1) {
        blocking = args[count + i];
      } else {
        PyErr_Format(PyExc_TypeError, "acquire() got an unexpected argument '%U'", name);
        throw nb::python_error();
      }
    }
    const int blocks = PyObject_IsTrue(blocking);
    if (blocks < 0) throw nb::python_error();
    return blocks != 0 ? Timeout::from(timeout) : Timeout::now();
  }

  static PyObject* release(PyObject* self, PyObject*) noexcept {
    return guarded([&] {
      object(self).release();
      return Py_NewRef(Py_None);
    });
  }

  static PyObject* release_many(PyObject* self, PyObject* const* args, Py_ssize_t count,
                                PyObject* names) noexcept {
    return guarded([&] {
      const Py_ssize_t named = names == nullptr ? 0 : PyTuple_Size(names);
      if (count + named > 1 ||
          (named == 1 && PyUnicode_CompareWithASCIIString(PyTuple_GetItem(names, 0), "n") != 0)) {
        PyErr_SetString(PyExc_TypeError, "release() takes one argument, n");
        throw nb::python_error();
      }
      long long n = 1;
      if (count + named == 1) n = PyLong_AsLongLong(args[0]);
      if (n == -1 && PyErr_Occurred() != nullptr) throw nb::python_error();
      if (n < 1 || n > std::numeric_limits<std::int32_t>::max())
        raise(Code::invalid_argument, "release: " + std::to_string(n) + " cannot be given back");
      object(self).release_many(static_cast<std::uint32_t>(n));
      return Py_NewRef(Py_None);
    });
  }

  static PyObject* enter(PyObject* self, PyObject*) noexcept {
    return guarded([&] {
      object(self).acquire(Timeout::for_ever());
      return Py_NewRef(Py_True);
    });
  }

  static PyObject* exit(PyObject* self, PyObject* const*, Py_ssize_t) noexcept {
    return release(self, nullptr);
  }

  template <typename Function>
  static PyCFunction as_method(Function* function) {
    return reinterpret_cast<PyCFunction>(reinterpret_cast<void*>(function));
  }

  static constexpr const char* kAcquire =
      "acquire($self, /, blocking=True, timeout=None)\n--\n\n"
      "Takes it. timeout in seconds: None waits for ever, 0 and less look once. Returns False\n"
      "where it was not to be had in time. Ctrl-C ends the wait.";
  static constexpr const char* kRelease =
      "release($self, /)\n--\n\nGives back what was taken. Raises StateError or ValueError where "
      "nothing was.";

  static constexpr const char* kReleaseMany =
      "release($self, /, n=1)\n--\n\nGives n back, and wakes as many who wait. Raises ValueError "
      "for more than there can be.";

  static PyMethodDef release_method() {
    if constexpr (requires(T & object) { object.release_many(1U); }) {
      return {"release", as_method(&release_many), METH_FASTCALL | METH_KEYWORDS, kReleaseMany};
    } else {
      return {"release", as_method(&release), METH_NOARGS, kRelease};
    }
  }

  static inline PyMethodDef methods_[] = {
      {"acquire", as_method(&acquire), METH_FASTCALL | METH_KEYWORDS, kAcquire},
      release_method(),
      {"__enter__", as_method(&enter), METH_NOARGS, "__enter__($self, /)\n--\n\n"},
      {"__exit__", as_method(&exit), METH_FASTCALL, "__exit__($self, /, *args)\n--\n\n"},
      {nullptr, nullptr, 0, nullptr},
  };
  static inline PyType_Slot slots_[] = {{Py_tp_methods, methods_}, {0, nullptr}};
};

}  // namespace strata::python
