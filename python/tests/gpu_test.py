"""cuda: segments from Python, on the fake driver: what consumers are told, and who waits for whom.

That PyTorch and CuPy read the memory is for a machine with a GPU: gpu/run_on_gpu.sh.
"""

import os
import pathlib
import subprocess
import sys
import tempfile
import textwrap

import pytest


@pytest.fixture(name="machine", scope="module")
def machine_fixture():
    # The state of the fake machine has to be on a tmpfs.
    with tempfile.TemporaryDirectory(dir="/dev/shm", prefix="py-gpu-") as folder:
        yield folder


HEAD = """
import ctypes, os, pickle, subprocess, sys, uuid
import strata
uri = "cuda:py-%s" % uuid.uuid4().hex
"""


def run(code, machine=None, check=True, **environment):
    """The output of a fresh interpreter that finds the fake driver, or none."""
    fake = pathlib.Path("tests/fake_cuda/libcuda.so.1").resolve().parent
    environment = {**os.environ, **environment}
    if machine is not None:
        # The name that the loader looks for, in a folder without other things.
        libraries = pathlib.Path(machine) / "lib"
        libraries.mkdir(exist_ok=True)
        if not (libraries / "libcuda.so.1").exists():
            (libraries / "libcuda.so.1").symlink_to(fake / "libcuda.so.1")
        environment["LD_LIBRARY_PATH"] = str(libraries)
        environment["STRATA_FAKE_CUDA_DIR"] = machine
    done = subprocess.run(
        [sys.executable, "-c", HEAD + textwrap.dedent(code)],
        env=environment, capture_output=True, text=True, timeout=120, check=False)  # fmt: skip
    if check:
        assert done.returncode == 0, done.stderr
    return done.stdout.split("\n")[:-1]


def test_without_a_driver_the_error_says_what_to_do():
    out = run(
        """
        try:
            strata.create(uri, (4,), "float32")
        except strata.NoDriverError as error:
            print("NoDriverError", isinstance(error, NotImplementedError), error.code)
        try:
            strata.gpu.devices()
        except strata.NoDriverError:
            print("NoDriverError")
        """,
        LD_LIBRARY_PATH="",
    )
    if "NoDriverError" not in "".join(out):
        pytest.skip("this machine has a CUDA driver")
    assert out == ["NoDriverError True no_driver", "NoDriverError"]


def test_capsules_say_where_the_memory_is(machine):
    out = run(
        """
        segment = strata.create(uri, (3, 5), "float32")
        print(segment.shape, segment.typestr, segment.__dlpack_device__())

        class Tensor(ctypes.Structure):
            _fields_ = [("data", ctypes.c_void_p), ("device_type", ctypes.c_int32),
                        ("device_id", ctypes.c_int32), ("ndim", ctypes.c_int32),
                        ("code", ctypes.c_uint8), ("bits", ctypes.c_uint8), ("lanes", ctypes.c_uint16),
                        ("shape", ctypes.POINTER(ctypes.c_int64)),
                        ("strides", ctypes.POINTER(ctypes.c_int64)), ("byte_offset", ctypes.c_uint64)]
        class Versioned(ctypes.Structure):
            _fields_ = [("major", ctypes.c_uint32), ("minor", ctypes.c_uint32),
                        ("context", ctypes.c_void_p), ("deleter", ctypes.c_void_p),
                        ("flags", ctypes.c_uint64), ("tensor", Tensor)]
        pointer = ctypes.pythonapi.PyCapsule_GetPointer
        pointer.restype, pointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
        capsule = segment.__dlpack__(max_version=(1, 0))
        made = Versioned.from_address(pointer(capsule, b"dltensor_versioned"))
        print(made.major, made.flags, made.tensor.device_type, made.tensor.device_id, made.tensor.code,
              made.tensor.bits, made.tensor.lanes, [made.tensor.shape[i] for i in range(2)],
              [made.tensor.strides[i] for i in range(2)] if made.tensor.strides else None)
        interface = segment.__cuda_array_interface__
        print(interface["shape"], interface["typestr"], interface["version"],
              interface["data"] == (made.tensor.data, False), interface["strides"])
        reader = strata.attach(uri, "r")
        made = Versioned.from_address(pointer(reader.__dlpack__(max_version=(1, 0)), b"dltensor_versioned"))
        print(made.flags, reader.__cuda_array_interface__["data"][1])
        old = segment.__dlpack__()
        print("dltensor" in repr(old))
        """,
        machine,
    )
    assert out == [
        "(3, 5) <f4 (2, 0)",
        "1 0 2 0 2 32 1 [3, 5] [5, 1]",
        "(3, 5) <f4 3 True None",
        "1 True",
        "True",
    ]


def test_the_host_copies_in_and_out_and_never_addresses_it(machine):
    out = run(
        """
        segment = strata.create(uri, (4,), "int64")
        segment.write((7).to_bytes(8, "little"), offset=8)
        print(segment.read(8, 8)[0])
        for look in (segment.view, segment.array):
            try:
                look()
            except (BufferError, NotImplementedError) as error:
                print(type(error).__name__)
        """,
        machine,
    )
    assert out == ["7", "UnsupportedError", "UnsupportedError"]


def test_another_process_gets_the_same_buffer_by_pickle(machine):
    out = run(
        """
        segment = strata.create(uri, (4,), "int64")
        child = '''if True:
            import pickle, sys
            other = pickle.load(sys.stdin.buffer)
            other.write(b"\\\\x05", offset=0)
            other.settle()
            print(other.shape, other.dtype, flush=True)
        '''
        done = subprocess.run([sys.executable, "-c", child], input=pickle.dumps(segment),
                              capture_output=True)
        print(done.stdout.decode().strip() or done.stderr.decode())
        print(segment.read(0, 1))
        """,
        machine,
    )
    assert out == ["(4,) <i8", "b'\\x05'"]


def test_a_consumer_waits_for_the_producers_signal_and_not_for_the_dead(machine):
    out = run(
        """
        segment = strata.create(uri, (4,), "int64")
        child = '''if True:
            import os, sys, signal, strata
            segment = strata.attach(sys.argv[1])
            filled = strata.gpu.timeline(segment).claim(3)
            filled.signal_now(1)
            filled.signal(2, None)
            print("signalled", flush=True)
            sys.stdin.readline()
            os.kill(os.getpid(), signal.SIGKILL)
        '''
        producer = subprocess.Popen([sys.executable, "-c", child, uri], stdin=subprocess.PIPE,
                                    stdout=subprocess.PIPE)
        print(producer.stdout.readline().decode().strip())
        follower = strata.gpu.timeline(segment).follow(3, 60.0)
        follower.wait_here(1, 60.0)
        pending = follower.wait(2, None, 60.0)
        pending.result(60.0)
        print(follower.is_reached(2), pending.is_reached())
        try:
            follower.wait_here(3, 0.05)
        except TimeoutError:
            print("TimeoutError")
        producer.communicate(b"go")
        try:
            follower.wait_here(3, 60.0)
        except strata.StateError:
            print("StateError")
        print([one["number"] for one in strata.gpu.devices()])
        try:
            strata.gpu.timeline(strata.create("shm:" + uri[5:], size=4096, lifetime="last_detach"))
        except strata.UnsupportedError:
            print("UnsupportedError")
        """,
        machine,
    )
    assert out == ["signalled", "True True", "TimeoutError", "StateError", "[0]", "UnsupportedError"]
