#!/usr/bin/env python3
"""PyTorch and CuPy read and write one "cuda:" segment from two processes.

usage: python_clients.py LIBRARY      libpython_client.so, made of tests/gpu/python_client.cc

Each pair of those that are installed is tried: the first process creates the segment and writes,
the second attaches, compares and adds one, the first sees it. Exits 77, and says why, where neither
is installed or neither finds the device.
"""

import ctypes
import importlib
import itertools
import os
import subprocess
import sys
import tempfile

COUNT = 1 << 20  # of float32
TIMEOUT_S = 50


class Client:
    """A segment, as __cuda_array_interface__ shows it to whoever asks."""

    def __init__(self, library, uri, directory, creates):
        self._door = ctypes.CDLL(library)
        error = ctypes.create_string_buffer(4096)
        for name in ("client_create", "client_attach"):
            getattr(self._door, name).restype = ctypes.c_void_p
        self._door.client_address.restype = ctypes.c_uint64
        where = (directory.encode(), error, ctypes.c_size_t(len(error)))
        if creates:
            size = ctypes.c_uint64(4 * COUNT)
            self._client = self._door.client_create(uri.encode(), size, *where)
        else:
            self._client = self._door.client_attach(uri.encode(), *where)
        if not self._client:
            sys.exit(error.value.decode())

    @property
    def __cuda_array_interface__(self):
        address = self._door.client_address(ctypes.c_void_p(self._client))
        return {"shape": (COUNT,), "typestr": "<f4", "data": (address, False), "version": 3}

    def close(self):
        self._door.client_close(ctypes.c_void_p(self._client))


class Torch:
    def __init__(self):
        self.module = importlib.import_module("torch")

    def is_usable(self):
        return self.module.cuda.is_available()

    def array(self, client):
        return self.module.as_tensor(client, device="cuda")

    def count(self):
        return self.module.arange(COUNT, dtype=self.module.float32, device="cuda")

    def is_equal(self, left, right):
        return bool(self.module.equal(left, right))

    def synchronize(self):
        self.module.cuda.synchronize()


class Cupy:
    def __init__(self):
        self.module = importlib.import_module("cupy")

    def is_usable(self):
        return self.module.cuda.runtime.getDeviceCount() > 0

    def array(self, client):
        return self.module.asarray(client)

    def count(self):
        return self.module.arange(COUNT, dtype=self.module.float32)

    def is_equal(self, left, right):
        return bool((left == right).all())

    def synchronize(self):
        self.module.cuda.Device().synchronize()


KINDS = {"torch": Torch, "cupy": Cupy}


def writer(kind, library, uri, directory):
    # The framework first: its C++ library has to suit it, and ours takes what is loaded.
    framework = KINDS[kind]()
    client = Client(library, uri, directory, creates=True)
    array = framework.array(client)
    array[:] = framework.count()
    framework.synchronize()
    print("written", flush=True)
    sys.stdin.readline()  # until the reader is done
    seen = framework.is_equal(array, framework.count() + 1)
    del array
    client.close()
    sys.exit(0 if seen else f"{kind} does not see what the other process wrote")


def reader(kind, library, uri, directory):
    framework = KINDS[kind]()
    client = Client(library, uri, directory, creates=False)
    array = framework.array(client)
    if not framework.is_equal(array, framework.count()):
        sys.exit(f"{kind} does not see what the other process wrote")
    array += 1
    framework.synchronize()
    del array
    client.close()


def why_not(kind):
    """None where the framework can be used. In a child, as it starts the driver."""
    check = f"import python_clients as c, sys; sys.exit(0 if c.{KINDS[kind].__name__}().is_usable() else 'no device')"
    run = subprocess.run([sys.executable, "-c", check], cwd=os.path.dirname(os.path.abspath(__file__)),
                         stderr=subprocess.PIPE, text=True, timeout=TIMEOUT_S)
    return None if run.returncode == 0 else run.stderr.strip().splitlines()[-1]


def share(first, second, library, directory):
    uri = f"cuda:{first}-{second}"
    command = [sys.executable, os.path.abspath(__file__), library]
    with subprocess.Popen(command + ["writer", first, uri, directory], stdin=subprocess.PIPE,
                          stdout=subprocess.PIPE, text=True) as process:
        if process.stdout.readline().strip() != "written":
            process.stdin.close()
            sys.exit(f"{first} could not write")
        subprocess.run(command + ["reader", second, uri, directory], check=True, timeout=TIMEOUT_S)
        process.communicate("done\n", timeout=TIMEOUT_S)
        if process.returncode != 0:
            sys.exit(process.returncode)


def main():
    library, *rest = sys.argv[1:]
    if rest:
        role, kind, uri, directory = rest
        return {"writer": writer, "reader": reader}[role](kind, library, uri, directory)
    problems = {kind: why_not(kind) for kind in KINDS}
    usable = [kind for kind, problem in problems.items() if problem is None]
    for kind, problem in problems.items():
        if problem:
            print(f"{kind}: {problem}")
    if not usable:
        print("skipped: " + "; ".join(f"{kind}: {why}" for kind, why in problems.items()))
        return 77
    with tempfile.TemporaryDirectory(prefix="strata-", dir="/dev/shm") as directory:
        pairs = list(itertools.product(usable, repeat=2))
        for first, second in pairs:
            share(first, second, library, directory)
    print(f"verified: {len(pairs)} pairs of processes over {', '.join(usable)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
