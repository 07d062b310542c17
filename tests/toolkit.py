"""A CUDA toolkit for tests that compile: the one that the build found, or else nvcc from PyPI.

Needs //bazel:cuda_root and tests/wheels.py among the data of the test.
"""

import pathlib

from tests import wheels

# Together they are nvcc with its headers; the host's g++ does the rest.
NVCC = [
    ("nvidia-cuda-nvcc", "13.0.88"),
    ("nvidia-nvvm", "13.0.88"),
    ("nvidia-cuda-crt", "13.0.88"),
    ("nvidia-cuda-runtime", "13.0.96"),
]


def root():
    """The folder that holds bin/nvcc and include/cuda_runtime.h.

    Raises wheels.Unavailable where none is found, or where --config=nocuda hides the one there is.
    """
    found = pathlib.Path("bazel/cuda_root.txt").read_text().strip()
    if found == "none":
        raise wheels.Unavailable("the build is told to use no CUDA toolkit")
    if found:
        return pathlib.Path(found)
    tree = wheels.fetch_together("nvcc-13.0", NVCC) / "nvidia/cu13"
    # A wheel is a zip file, which as Python unpacks it forgets what may be run.
    for program in [*tree.glob("bin/*"), *tree.glob("nvvm/bin/*")]:
        program.chmod(0o755)
    return tree
