#!/usr/bin/env python3
"""Compiles kernels.cu to kernels.ptx by a pinned NVRTC, fetched from PyPI: no toolkit is needed.

12.0 because its PTX is loaded by every driver that has what Strata calls (525 on), and pinned
because the text differs from one compiler to the next.

usage: gpu/kernels/make_ptx.py    -- from the root of the source tree; writes kernels.ptx
"""

import ctypes
import os
import pathlib
import sys

if __name__ == "__main__":
    sys.path.insert(0, os.getcwd())

from tests import wheels

NVRTC = ("nvidia-cuda-nvrtc-cu12", "12.0.140")
OPTIONS = [b"--gpu-architecture=compute_70", b"--std=c++17"]
SOURCE = "gpu/kernels/kernels.cu"
HEADERS = ["gpu/kernels/xxh3.h"]
RESULT = "gpu/kernels/kernels.ptx"


class Failed(Exception):
    """What the compiler printed."""


def _texts(texts):
    return (ctypes.c_char_p * len(texts))(*texts)


def compile_ptx():
    """The text of the PTX. Raises wheels.Unavailable, or Failed."""
    tree = wheels.fetch(*NVRTC)
    library = ctypes.CDLL(str(tree / "nvidia/cuda_nvrtc/lib/libnvrtc.so.12"))
    program = ctypes.c_void_p()
    headers = [pathlib.Path(name).read_bytes() for name in HEADERS]
    created = library.nvrtcCreateProgram(
        ctypes.byref(program), pathlib.Path(SOURCE).read_bytes(), SOURCE.encode(), len(HEADERS),
        _texts(headers), _texts([name.encode() for name in HEADERS]))  # fmt: skip
    if created != 0:
        raise Failed("nvrtcCreateProgram: %d" % created)
    compiled = library.nvrtcCompileProgram(program, len(OPTIONS), _texts(OPTIONS))
    log = _read(library, program, "ProgramLog")
    if compiled != 0:
        raise Failed(log)
    if log.strip():
        print(log, file=sys.stderr)
    return _read(library, program, "PTX")


def _read(library, program, what):
    size = ctypes.c_size_t()
    getattr(library, "nvrtcGet%sSize" % what)(program, ctypes.byref(size))
    text = ctypes.create_string_buffer(size.value)
    getattr(library, "nvrtcGet%s" % what)(program, text)
    return text.value.decode()


def main():
    try:
        text = compile_ptx()
    except (wheels.Unavailable, Failed) as error:
        print(error, file=sys.stderr)
        return 1
    pathlib.Path(RESULT).write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
