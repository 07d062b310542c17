"""Three big lists, a bit array and two of integers, that eight workers read: the memory of all.

What is shown is the proportional set size of the workers together (PSS, /proc/PID/smaps_rollup),
when each has read everything and still has it: a page that n processes map counts an n-th for each.
"""

import array
import contextlib
import multiprocessing
import subprocess
import sys

import harness
import peers

WORKERS = 8
ELEMENTS = 2_000_000
METHODS = ("fork", "forkserver", "spawn")


def values(elements):
    """The three lists. Their data is a byte, and twice eight bytes, for each element."""
    bits = [number % 3 == 0 for number in range(elements)]
    return (
        bits,
        [1_000 + number for number in range(elements)],
        [10**9 + 7 * number for number in range(elements)],
    )


def expected_sum(elements):
    # Not from the lists themselves: what they leave in the heap would be forked along.
    numbers = elements * (elements - 1) // 2
    return -(-elements // 3) + 1_000 * elements + numbers + 10**9 * elements + 7 * numbers


def pss_bytes():
    with open("/proc/self/smaps_rollup") as rollup:
        for line in rollup:
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    raise RuntimeError("/proc/self/smaps_rollup says no Pss")


# --- the ways: make(elements) gives a context manager of what is sent; read(sent) gives a sum and
# what the worker has to keep. All at the top level, for spawn.


def nothing(elements):
    return contextlib.nullcontext()


def read_nothing(sent):
    return None, None


def read_numpy_import(sent):
    import numpy

    return None, numpy


def plain(elements):
    return contextlib.nullcontext(values(elements))


def read_plain(sent):
    return sum(sum(one) for one in sent), sent


def arrays(elements):
    bits, first, second = values(elements)
    return contextlib.nullcontext(
        (bytearray(bits), array.array("q", first), array.array("q", second))
    )


def numpy_arrays(elements):
    import numpy

    return contextlib.nullcontext(
        tuple(numpy.array(one, dtype) for one, dtype in zip(values(elements), ("?", "i8", "i8")))
    )


def read_numpy(sent):
    return sum(int(one.sum()) for one in sent), sent


@contextlib.contextmanager
def blocks(elements):
    from multiprocessing import shared_memory

    import numpy

    made = []
    try:
        with numpy_arrays(elements) as filled:
            for one in filled:
                block = shared_memory.SharedMemory(create=True, size=one.nbytes)
                numpy.ndarray(one.shape, one.dtype, buffer=block.buf)[:] = one
                made.append((block, one.shape, one.dtype.str))
        del filled, one
        yield [(block.name, shape, dtype) for block, shape, dtype in made]
    finally:
        for block, *_ in made:
            block.close()
            block.unlink()


def read_blocks(sent):
    from multiprocessing import shared_memory

    import numpy

    kept = [shared_memory.SharedMemory(name) for name, _, _ in sent]
    views = [
        numpy.ndarray(shape, dtype, buffer=block.buf)
        for block, (_, shape, dtype) in zip(kept, sent)
    ]
    return sum(int(view.sum()) for view in views), (kept, views)


@contextlib.contextmanager
def frozen(elements):
    import strata

    yield tuple(strata.freeze(one) for one in values(elements))


WAYS = {
    "nothing": (nothing, read_nothing, ()),
    "NumPy, imported only": (nothing, read_numpy_import, (peers.NUMPY,)),
    "list": (plain, read_plain, ()),
    "array.array and bytearray": (arrays, read_plain, ()),
    "NumPy arrays": (numpy_arrays, read_numpy, (peers.NUMPY,)),
    "shared_memory + NumPy": (blocks, read_blocks, (peers.NUMPY,)),
    "strata.freeze": (frozen, read_plain, (peers.strata("freeze"),)),
}


def _work(way, sent, here, expected):
    total, kept = WAYS[way][1](sent)
    if total not in (None, expected):
        raise RuntimeError(f"the benchmark is wrong: read {total}, not {expected}")
    here.send(0)
    here.recv()  # all have read
    here.send(pss_bytes())
    here.recv()  # all have looked
    del kept


def pss_of_workers(way, method, elements):
    """The bytes of all workers together."""
    context = multiprocessing.get_context(method)
    expected = expected_sum(elements)
    with WAYS[way][0](elements) as sent:
        ends, workers = [], []
        for _ in range(WORKERS):
            here, there = context.Pipe()
            worker = context.Process(target=_work, args=(way, sent, there, expected))
            worker.start()
            there.close()
            ends.append(here)
            workers.append(worker)
        try:
            for end in ends:
                end.recv()
            for end in ends:
                end.send(0)
            return sum([end.recv() for end in ends])
        finally:
            for end in ends:
                with contextlib.suppress(OSError):
                    end.send(0)
                end.close()
            for worker in workers:
                worker.join(harness.WATCHDOG_S)


def in_a_fresh_process(way, method, elements):
    """The same, from a process that has loaded nothing else: forked workers share what it has."""
    done = subprocess.run(
        [sys.executable, __file__, way, method, str(elements)], text=True, capture_output=True
    )
    if done.returncode != 0:
        raise RuntimeError(f"{way} by {method}: {done.stderr}")
    return int(done.stdout)


def measure(method, rounds, scale=1.0, log=lambda text: None):
    """One table for a start method, in the shape of those of harness.measure."""
    elements = max(1_000, int(ELEMENTS * scale))
    data = 17 * elements
    absent, found = {}, {}
    rows = [harness.Row(way, None, 1, needs) for way, (_, _, needs) in WAYS.items()]
    for row in rows:
        why = harness.absence(row)
        if why:
            absent[row.name] = why
    for number in range(rounds):
        for row in rows:
            if row.name not in absent:
                pss = in_a_fresh_process(row.name, method, elements)
                found.setdefault(row.name, []).append(pss)
                log(f"lists by {method} {number + 1}/{rounds}: {row.name}")
    base = "nothing"
    return {
        "table": f"lists-{method}",
        "title": f"Three lists of {elements:,} items, {data / 1e6:.1f} MB of data, read by "
        f"{WORKERS} workers ({method})",
        "operation": "memory of all workers, PSS",
        "unit": "bytes",
        "rows": [_result(name, pss, found[base]) for name, pss in found.items()],
        "absent": absent,
        "goals": _goals(found, data, 1.05 if method == "fork" else 1.3),
    }


def _result(name, pss, base):
    low, median, high = harness.quartiles(pss)
    ratios = [one / other for one, other in zip(pss, base)]
    return {
        "name": name,
        "bytes": pss,
        "median_s": median,
        "quartiles_s": [low, high],
        "ratio": harness.quartiles(ratios)[1],
    }


def _goals(found, data, at_most):
    """What the workers have beyond the interpreters' own memory, as a multiple of the data."""
    ours = found.get("strata.freeze")
    if not ours:
        return []
    ratios = [(one - own) / data for one, own in zip(ours, found["nothing"])]
    low, median, high = harness.quartiles(ratios)
    return [
        {
            "ours": "strata.freeze beyond nothing",
            "peer": "the data",
            "at_most": at_most,
            "ratio": median,
            "quartiles": [low, high],
            "met": median <= at_most,
        }
    ]


if __name__ == "__main__":
    print(pss_of_workers(sys.argv[1], sys.argv[2], int(sys.argv[3])))
