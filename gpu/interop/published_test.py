"""What others publish agrees: dlpack.h, the concepts of cuda::mr, and NumPy and nanoarrow as readers of a segment.

Each is a pinned package of PyPI, fetched into a cache; without it its cases are skipped.
"""

import ctypes
import os
import pathlib
import subprocess
import sys

import pytest

from tests import toolkit, wheels

TVM_FFI = ("apache-tvm-ffi", "0.1.0")  # carries dlpack.h
NUMPY = ("numpy", "2.2.6")
NANOARROW = ("nanoarrow", "0.7.0")
CCCL = "nvidia-cuda-cccl"
CCCL_VERSIONS = ["13.1.78", "13.3.5.0.6"]  # 3.1, the oldest one that serves, and 3.5

SOURCE_TREE = pathlib.Path(os.path.realpath(__file__)).parents[2]

LAYOUT = r"""
#include <cstddef>
#include <dlpack/dlpack.h>
#include "strata/gpu/interop/dlpack.h"
namespace ours = strata::dlpack;
#define SAME(a, b) static_assert(sizeof(a) == sizeof(b) && alignof(a) == alignof(b))
#define AT(a, b, member) static_assert(offsetof(a, member) == offsetof(b, member))
SAME(ours::Tensor, DLTensor);
SAME(ours::DataType, DLDataType);
SAME(ours::Device, DLDevice);
SAME(ours::PackVersion, DLPackVersion);
SAME(ours::ManagedTensor, DLManagedTensor);
SAME(ours::ManagedTensorVersioned, DLManagedTensorVersioned);
AT(ours::Device, DLDevice, device_type);
AT(ours::Device, DLDevice, device_id);
AT(ours::DataType, DLDataType, code);
AT(ours::DataType, DLDataType, bits);
AT(ours::DataType, DLDataType, lanes);
AT(ours::Tensor, DLTensor, data);
AT(ours::Tensor, DLTensor, device);
AT(ours::Tensor, DLTensor, ndim);
AT(ours::Tensor, DLTensor, dtype);
AT(ours::Tensor, DLTensor, shape);
AT(ours::Tensor, DLTensor, strides);
AT(ours::Tensor, DLTensor, byte_offset);
AT(ours::ManagedTensor, DLManagedTensor, dl_tensor);
AT(ours::ManagedTensor, DLManagedTensor, manager_ctx);
AT(ours::ManagedTensor, DLManagedTensor, deleter);
AT(ours::ManagedTensorVersioned, DLManagedTensorVersioned, version);
AT(ours::ManagedTensorVersioned, DLManagedTensorVersioned, manager_ctx);
AT(ours::ManagedTensorVersioned, DLManagedTensorVersioned, deleter);
AT(ours::ManagedTensorVersioned, DLManagedTensorVersioned, flags);
AT(ours::ManagedTensorVersioned, DLManagedTensorVersioned, dl_tensor);
static_assert(int{ours::kCpu} == kDLCPU && int{ours::kCuda} == kDLCUDA);
static_assert(int{ours::kCudaHost} == kDLCUDAHost);
static_assert(int{ours::kInt} == kDLInt && int{ours::kUint} == kDLUInt);
static_assert(int{ours::kFloat} == kDLFloat && int{ours::kBfloat} == kDLBfloat);
static_assert(int{ours::kComplex} == kDLComplex && int{ours::kBool} == kDLBool);
static_assert(ours::kReadOnly == DLPACK_FLAG_BITMASK_READ_ONLY);
static_assert(ours::kIsCopied == DLPACK_FLAG_BITMASK_IS_COPIED);
static_assert(ours::kMajorVersion == DLPACK_MAJOR_VERSION);
"""

RESOURCE = r"""
#include "strata/gpu/interop/memory_resource.h"
#if CCCL_VERSION >= 3002000  // before, references were experimental
void* use(std::shared_ptr<strata::interop::SegmentPool> pool) {
  strata::interop::SegmentResource resource(std::move(pool));
  cuda::mr::resource_ref<cuda::mr::device_accessible> reference{resource};
  void* const address = reference.allocate_sync(16, 16);
  reference.deallocate_sync(address, 16, 16);
  return address;
}
#endif
"""


def wheel_or_skip(name, version):
    try:
        return wheels.fetch(name, version)
    except wheels.Unavailable as error:
        pytest.skip(str(error))


def check_syntax(tmp_path, text, *folders):
    source = tmp_path / "all.cc"
    source.write_text(text)
    command = ["g++", "-std=c++20", "-fsyntax-only", "-Wall", "-Wextra", "-Werror"]
    command += ["-I", str(SOURCE_TREE), "-I", str(SOURCE_TREE / "include")]
    for folder in folders:
        command += ["-isystem", str(folder)]
    return subprocess.run(
        command + [str(source)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        check=False)  # fmt: skip


def test_the_structs_are_those_of_the_published_dlpack_header(tmp_path):
    tree = wheel_or_skip(*TVM_FFI)
    done = check_syntax(tmp_path, LAYOUT, tree / "tvm_ffi/include")
    assert done.returncode == 0, done.stdout


def toolkit_headers():
    try:
        return str(toolkit.root() / "include")
    except wheels.Unavailable as error:
        pytest.skip(str(error))


@pytest.mark.parametrize("version", CCCL_VERSIONS)
def test_the_resource_meets_the_concepts_of_cuda_mr(tmp_path, version):
    runtime = toolkit_headers()
    tree = wheel_or_skip(CCCL, version)
    done = check_syntax(tmp_path, RESOURCE, tree / "nvidia/cu13/include/cccl", runtime)
    assert done.returncode == 0, done.stdout


def test_an_older_cccl_is_refused_with_what_is_needed(tmp_path):
    runtime = toolkit_headers()
    version = pathlib.Path(runtime, "cccl/cuda/std/__cccl/version.h")
    if not version.exists() or "CCCL_VERSION 3000" not in version.read_text():
        pytest.skip("the toolkit's own CCCL is not 3.0")
    done = check_syntax(tmp_path, RESOURCE, runtime + "/cccl", runtime)
    assert done.returncode != 0
    assert "needs CCCL 3.1 or newer" in done.stdout


@pytest.fixture(name="library", scope="module")
def library_fixture():
    library = ctypes.CDLL(os.path.abspath("gpu/interop/export_for_python.so"))
    for name in ("export_versioned", "export_legacy"):
        getattr(library, name).restype = ctypes.c_void_p
    library.import_sum.restype = ctypes.c_double
    library.import_sum.argtypes = [ctypes.c_void_p]
    library.first_float.restype = ctypes.c_float
    return library


def importable(name, version):
    tree = str(wheel_or_skip(name, version))
    if tree not in sys.path:
        sys.path.insert(0, tree)


new_capsule = ctypes.pythonapi.PyCapsule_New
new_capsule.restype = ctypes.py_object
new_capsule.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]
capsule_pointer = ctypes.pythonapi.PyCapsule_GetPointer
capsule_pointer.restype = ctypes.c_void_p
capsule_pointer.argtypes = [ctypes.py_object, ctypes.c_char_p]
rename_capsule = ctypes.pythonapi.PyCapsule_SetName
rename_capsule.argtypes = [ctypes.py_object, ctypes.c_char_p]


class Exporter:
    """An object as the Python side of DLPack wants it."""

    def __init__(self, pointer, name, device):
        self.capsule = new_capsule(pointer, name, None)
        self.device = device

    def __dlpack__(self, **_):
        return self.capsule

    def __dlpack_device__(self):
        return (self.device, 0)


def array_of(library, *, is_read_only=False, is_pinned=False):
    import numpy

    pointer = library.export_versioned(int(is_read_only), int(is_pinned))
    return numpy.from_dlpack(Exporter(pointer, b"dltensor_versioned", 3 if is_pinned else 1))


def test_numpy_reads_and_writes_a_segment_without_a_copy(library):
    importable(*NUMPY)
    array = array_of(library)
    assert array.shape == (8, 8) and str(array.dtype) == "float32"
    assert array.flags.writeable
    assert array.sum() == 63 * 64 / 2
    array[0, 0] = 5
    assert library.first_float() == 5
    array[0, 0] = 0


def test_numpy_does_not_write_to_a_segment_that_is_attached_read_only(library):
    importable(*NUMPY)
    array = array_of(library, is_read_only=True)
    assert not array.flags.writeable
    assert array[7, 7] == 63


def test_numpy_takes_memory_that_is_pinned(library):
    importable(*NUMPY)
    assert array_of(library, is_pinned=True)[1, 0] == 8


def test_numpy_takes_the_form_before_version_one(library):
    importable(*NUMPY)
    import numpy

    array = numpy.from_dlpack(Exporter(library.export_legacy(), b"dltensor", 1))
    assert array.sum() == 63 * 64 / 2


def test_an_array_of_numpy_is_imported(library):
    importable(*NUMPY)
    import numpy

    array = numpy.arange(1, 5, dtype=numpy.float32)
    capsule = array.__dlpack__(max_version=(1, 0))
    pointer = capsule_pointer(capsule, b"dltensor_versioned")
    rename_capsule(capsule, b"used_dltensor_versioned")
    assert library.import_sum(pointer) == 10
    backwards = numpy.arange(8, dtype=numpy.float32)[::-1].__dlpack__(max_version=(1, 0))
    pointer = capsule_pointer(backwards, b"dltensor_versioned")
    rename_capsule(backwards, b"used_dltensor_versioned")
    assert library.import_sum(pointer) == -1


SCHEMA_BYTES, DEVICE_ARRAY_BYTES = 72, 128


def test_nanoarrow_reads_a_segment_as_a_column(library):
    importable(*NANOARROW)
    import nanoarrow

    schema = ctypes.create_string_buffer(SCHEMA_BYTES)
    array = ctypes.create_string_buffer(DEVICE_ARRAY_BYTES)
    library.export_column(schema, array)

    class Column:
        def __arrow_c_array__(self, requested_schema=None):
            # The device array begins with the plain one.
            return (
                new_capsule(ctypes.addressof(schema), b"arrow_schema", None),
                new_capsule(ctypes.addressof(array), b"arrow_array", None),
            )

    column = nanoarrow.Array(Column())
    assert str(column.schema.type.name) == "FLOAT"
    assert column.to_pylist() == [float(i) for i in range(64)]
