"""Finding shared memory by its name, and an array in it; and what an import costs."""

import contextlib
import subprocess
import sys
import time
import uuid
from multiprocessing import shared_memory

import peers
from harness import Goal, Row, Table

SHAPE = (100, 100)
NBYTES = 80_000


@contextlib.contextmanager
def segments():
    """What the rows attach to: one block, and one segment where Strata is there."""
    import harness

    global _name, _uri
    block = shared_memory.SharedMemory(create=True, size=NBYTES)
    _name, segment = block.name, None
    if harness.has("strata.create"):
        import strata

        _uri = f"shm:bench-{uuid.uuid4().hex}"
        segment = strata.create(_uri, SHAPE, "float64")
    try:
        yield
    finally:
        block.close()
        block.unlink()
        if segment is not None:
            segment.close()
            strata.remove(_uri)


def of_module(name):
    def run(operations):
        import importlib

        import numpy

        attach = importlib.import_module(name).SharedMemory
        begin = time.perf_counter()
        for _ in range(operations):
            block = attach(_name)
            array = numpy.ndarray(SHAPE, "float64", buffer=block.buf)
            del array
            block.close()
        return time.perf_counter() - begin

    return run


def strata_attach(operations):
    import strata

    begin = time.perf_counter()
    for _ in range(operations):
        segment = strata.attach(_uri)
        array = segment.array()
        del array
        segment.close()
    return time.perf_counter() - begin


def imports(statement):
    """In a fresh interpreter, which times it: the whole of one is too noisy."""
    program = f"import time; t = time.perf_counter()\n{statement}\nprint(time.perf_counter() - t)"

    def run(operations):
        total = 0.0
        for _ in range(operations):
            done = subprocess.run(
                [sys.executable, "-c", program], check=True, text=True, stdout=subprocess.PIPE
            )
            total += float(done.stdout)
        return total

    return run


STANDARD = "multiprocessing.shared_memory"
TABLES = [
    Table(
        key="attach",
        title="Attach by name, a NumPy array, close",
        operation="once",
        around=segments,
        rows=[
            Row(STANDARD, of_module(STANDARD), 2_000, (peers.NUMPY,)),
            Row("strata.attach", strata_attach, 2_000, (peers.strata("attach"), peers.NUMPY)),
            Row(
                "strata.shared_memory",
                of_module("strata.shared_memory"),
                2_000,
                (peers.strata("shared_memory"), peers.NUMPY),
            ),
        ],
        goals=(Goal("strata.attach", STANDARD, 1.1), Goal("strata.shared_memory", STANDARD, 1.1)),
    ),
    Table(
        key="import",
        title="The first import",
        operation="once",
        rows=[
            Row(STANDARD, imports(f"import {STANDARD}"), 8),
            Row("strata", imports("import strata; strata.Segment"), 8, (peers.strata("Segment"),)),
            Row(
                "strata.shared_memory",
                imports("import strata.shared_memory"),
                8,
                (peers.strata("shared_memory"),),
            ),
            Row("numpy", imports("import numpy"), 8, (peers.NUMPY,)),
        ],
        goals=(Goal("strata", STANDARD, 1.0), Goal("strata.shared_memory", STANDARD, 1.0)),
    ),
]
