"""Frozen lists: sequences like any other, that nobody can change, shared at flat memory."""

import collections.abc
import gc
import itertools
import math
import multiprocessing
import os
import pickle
import random
import subprocess
import sys
from array import array
from concurrent.futures import ProcessPoolExecutor

import pytest

import strata

START_METHODS = ["fork", "forkserver", "spawn"]
SAMPLES = {
    "int": [3, 1, -(2**63), 2**63 - 1, 0, 3, 7, 3],
    "float": [1.5, -0.0, math.inf, 3.0, 1e300, 1.5],
    "bytes": [b"a", b"", b"\0\xff", b"a" * 1000, b"a"],
    "str": ["a", "", "\0", "grüße", "漢字", "😀", "a"],
    "bits": [True, False, False, True, True] * 30,
}
KINDS = pytest.mark.parametrize("kind", SAMPLES)


@KINDS
def test_it_has_the_items_and_the_ways_of_a_list(kind):
    items = SAMPLES[kind]
    frozen = strata.freeze(items)
    assert frozen.kind == kind
    assert len(frozen) == len(items)
    assert list(frozen) == items
    assert [type(item) for item in frozen] == [type(item) for item in items]
    assert list(reversed(frozen)) == items[::-1]
    for i in range(-len(items), len(items)):
        assert frozen[i] == items[i]
    for i in (len(items), -len(items) - 1, 1 << 70):
        with pytest.raises(IndexError):
            _ = frozen[i]
    for item in items:
        assert item in frozen
        assert frozen.index(item) == items.index(item)
        assert frozen.count(item) == items.count(item)
    assert isinstance(frozen, collections.abc.Sequence)
    with pytest.raises(TypeError):
        frozen["0"]


@KINDS
def test_slices_are_those_of_a_list(kind):
    items = SAMPLES[kind]
    frozen = strata.freeze(items)
    ends = [None, 0, 1, 3, len(items), len(items) + 5, -1, -3, -len(items) - 2]
    for start, stop, step in itertools.product(ends, ends, [None, 1, 2, 3, -1, -2, 100, -100]):
        part = frozen[start:stop:step]
        want = items[start:stop:step]
        assert part == want and len(part) == len(want)
        assert part[::-1] == want[::-1]
        assert part[1::2] == want[1::2]
        if want:
            assert part[-1] == want[-1]
            assert part.index(want[-1]) == want.index(want[-1])
            assert part.count(want[0]) == want.count(want[0])
    with pytest.raises(ValueError):
        frozen[::0]


def test_bounds_of_index_are_those_of_a_list():
    items = [1, 2, 1, 2, 1]
    frozen = strata.freeze(items)
    for start, stop in itertools.product(range(-7, 8), repeat=2):
        for value in (1, 2):
            try:
                want = items.index(value, start, stop)
            except ValueError:
                with pytest.raises(ValueError, match="not in the list"):
                    frozen.index(value, start, stop)
            else:
                assert frozen.index(value, start, stop) == want


class EqualToAll:
    def __eq__(self, other):
        return True


@pytest.mark.parametrize(
    "value",
    [1, 1.0, True, 0, 0.0, False, 2**53, 2**53 + 1, float(2**53), 2**63, 2**70, -(2**63), 1.5,
     math.inf, math.nan, 1e300, "a", b"a", None, "\ud800", (), EqualToAll()],
)  # fmt: skip
def test_in_and_count_say_what_they_say_of_a_list(value):
    lists = [
        [0, 1, 2**53, 2**53 + 1, 2**63 - 1, -(2**63)],
        [0.0, 1.0, 1.5, float(2**53), math.inf, 1e300],
        [True, False, True], [True, True], ["a", "b"], [b"a", b"b"],
    ]  # fmt: skip
    for items in lists:
        frozen = strata.freeze(items)
        assert (value in frozen) == (value in items)
        assert frozen.count(value) == items.count(value)


def test_equality_is_that_of_lists_of_their_items():
    lists = [[1, 0], [1.0, 0.0], [True, False], [1], [], ["a"], [b"a"], [1, 2], [math.inf], [0, 1]]
    frozen = [strata.freeze(items) for items in lists]
    for i, j in itertools.product(range(len(lists)), repeat=2):
        want = lists[i] == lists[j]
        assert (frozen[i] == frozen[j]) == want
        assert (frozen[i] == lists[j]) == want
        assert (lists[i] == frozen[j]) == want
        assert (frozen[i] != frozen[j]) != want
    assert strata.freeze([1, 2]) == (1, 2)
    assert strata.freeze([1, 2]) != "12"
    assert strata.freeze([math.nan]) != strata.freeze([math.nan])
    with pytest.raises(TypeError):
        hash(frozen[0])
    with pytest.raises(TypeError):
        _ = frozen[0] < frozen[1]


def test_comparisons_that_raise_do_so():
    class Awkward:
        def __eq__(self, other):
            raise KeyError("awkward")

    for items in SAMPLES.values():
        frozen = strata.freeze(items)
        with pytest.raises(KeyError, match="awkward"):
            _ = Awkward() in frozen
        with pytest.raises(KeyError, match="awkward"):
            _ = frozen == [Awkward()] * len(items)


def test_random_bits_are_read_and_counted():
    seed = int.from_bytes(os.urandom(4), "little")
    print("seed:", seed)
    choose = random.Random(seed)
    for count in (0, 1, 63, 64, 65, 1000):
        bits = [choose.random() < 0.5 for _ in range(count)]
        frozen = strata.freeze(bits, kind="bits")
        assert list(frozen) == bits
        assert frozen.count(True) == sum(bits)
        assert frozen.count(False) == count - sum(bits)
        assert frozen[3:].count(True) == sum(bits[3:])
        assert frozen.nbytes == (count + 7) // 8


# What may be frozen.


@pytest.mark.parametrize(
    ("items", "error", "says"),
    [
        ([1, 2.5], TypeError, 'item 1.*float.*kind="float"'),
        ([2.5, 1], TypeError, 'item 1.*int.*kind="float"'),
        ([1, True], TypeError, 'item 1.*bool.*kind="int"'),
        ([True, 1], TypeError, 'item 1.*int.*kind="int"'),
        ([0, 2**63], OverflowError, 'item 1.*64 bits.*kind="float"'),
        ([-(2**63) - 1], OverflowError, "item 0"),
        (["a", b"b"], TypeError, "item 1.*bytes.*one kind"),
        ([1, "a"], TypeError, "item 1.*str.*one kind"),
        ([None], TypeError, "NoneType.*int, float, bytes, str or bool"),
        ([1, None], TypeError, "NoneType"),
        ([[1]], TypeError, "of type list"),
        ([bytearray(b"a")], TypeError, "bytearray"),
        ("text", TypeError, "freeze a list of them"),
        (b"bytes", TypeError, "freeze a list of them"),
        (17, TypeError, "not iterable"),
        (["\ud800"], UnicodeEncodeError, "surrogates"),
        (array("Q", [1, 2**63]), OverflowError, "item 1"),
        (memoryview(bytes(4)).cast("B", (2, 2)), ValueError, "one dimension"),
    ],
)
def test_what_no_list_is_made_of_says_what_to_do(items, error, says):
    with pytest.raises(error, match=says):
        strata.freeze(items)


@pytest.mark.parametrize(
    ("items", "kind", "want"),
    [
        ([1, 2.5, True], "float", [1.0, 2.5, 1.0]),
        ([1, 2.5, True], float, [1.0, 2.5, 1.0]),
        ([1, True], "int", [1, 1]),
        ([1, 0, True], "bits", [True, False, True]),
        ([], "str", []),
        ([], None, []),
        (array("b", [0, 1]), "bits", [False, True]),
        (array("b", [0, 2]), "float", [0.0, 2.0]),
        (range(5), None, [0, 1, 2, 3, 4]),
        ((c for c in "abc"), str, ["a", "b", "c"]),
        ({1: 2, 3: 4}, None, [1, 3]),
        (memoryview(b"xaybzc")[1::2], None, [97, 98, 99]),
    ],
)
def test_a_kind_converts_and_any_iterable_will_do(items, kind, want):
    frozen = strata.freeze(items, kind=kind)
    assert frozen == want
    assert [type(item) for item in frozen] == [type(item) for item in want]


@pytest.mark.parametrize(
    ("items", "kind", "error"),
    [([2], "bits", ValueError), ([1.5], "int", TypeError), (["1"], "int", TypeError),
     ([1], "list", ValueError), ([1], 7, ValueError), (array("d", [1.0]), "int", TypeError),
     (array("b", [2]), "bits", ValueError), (array("b", [2]), "str", TypeError)],
)  # fmt: skip
def test_a_kind_that_does_not_fit_is_refused(items, kind, error):
    with pytest.raises(error):
        strata.freeze(items, kind=kind)


@pytest.mark.parametrize("code", "bBhHiIlLqQfd")
def test_arrays_are_frozen_through_their_buffer(code):
    items = array(code, [0, 1, 100, 7])
    frozen = strata.freeze(items)
    assert frozen.kind == ("float" if code in "fd" else "int")
    assert list(frozen) == items.tolist()
    assert strata.freeze(frozen[::-2]) == items.tolist()[::-2]


@KINDS
def test_a_frozen_list_may_be_frozen(kind):
    frozen = strata.freeze(SAMPLES[kind])
    assert strata.freeze(frozen) == SAMPLES[kind]
    assert strata.freeze(frozen[1::2]) == SAMPLES[kind][1::2]


def test_numbers_are_buffers_that_cannot_be_written_to():
    frozen = strata.freeze([1, 2, 3, 4])
    view = memoryview(frozen)
    assert (view.format, view.tolist(), view.readonly) == ("q", [1, 2, 3, 4], True)
    assert memoryview(frozen[::-2]).tolist() == [4, 2]
    assert bytes(frozen[1:3]) == bytes(array("q", [2, 3]))
    with pytest.raises(TypeError):
        view[0] = 5
    with pytest.raises(TypeError):
        frozen[0] = 5
    del frozen
    gc.collect()
    assert view.tolist() == [1, 2, 3, 4]
    for items in (["a"], [b"a"], [True]):
        with pytest.raises(BufferError, match="numbers"):
            memoryview(strata.freeze(items))


def test_numpy_comes_only_if_asked_for():
    code = (
        "import strata, sys\n"
        "frozen = strata.freeze([1, 2, 3])\n"
        "assert sum(frozen) == 6 and 'numpy' not in sys.modules\n"
        "assert frozen.array().sum() == 6 and 'numpy' in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


def test_arrays_of_numpy_go_in_and_come_out():
    numpy = pytest.importorskip("numpy")
    for dtype in ("i1", "u2", "<i4", "u8", "f4", "f8", "?"):
        items = numpy.array([0, 1, 1, 0], dtype)
        assert strata.freeze(items) == items.tolist()
        assert strata.freeze(items[::-2]) == items[::-2].tolist()
    frozen = strata.freeze([1, 2, 3])
    numbers = frozen.array()
    assert numbers.dtype == numpy.int64 and not numbers.flags.writeable
    assert numpy.shares_memory(numbers, frozen.array())
    assert frozen[::-1].array().tolist() == [3, 2, 1]
    assert strata.freeze([True, False, True])[1:].array().tolist() == [False, True]
    assert strata.freeze(numpy.array([1.5])).array().dtype == numpy.float64
    assert strata.freeze(numpy.array(["a", "bc"])) == ["a", "bc"]
    with pytest.raises(TypeError, match="str"):
        strata.freeze(["a"]).array()
    with pytest.raises(ValueError, match="one dimension"):
        strata.freeze(numpy.zeros((2, 2)))
    with pytest.raises(TypeError, match="array itself"):
        strata.freeze([1, numpy.int64(2)])


# By name, sealed, in other processes.


def test_a_named_list_is_found_by_its_name(uri):
    frozen = strata.freeze(["a", "b"], uri)
    assert strata.List(uri) == ["a", "b"]
    assert (frozen.uri, strata.List(uri).uri) == (uri, uri)
    stat = strata.stat(uri)
    assert (stat["type"], stat["state"]) == ("strata.List", "sealed")
    frozen.verify()
    with pytest.raises(FileExistsError):
        strata.freeze([1], uri)
    with pytest.raises(strata.Error):
        strata.attach(uri, "r+").write(b"x")


def test_what_is_no_list_is_refused(uri):
    strata.create(uri, (4,), "float64")
    with pytest.raises(ValueError, match="no strata.List"):
        strata.List(uri)
    with pytest.raises(FileNotFoundError):
        strata.List(uri + "-not")


def test_a_list_without_a_name_is_gone_with_its_last_user():
    frozen = strata.freeze([1, 2, 3])
    uri = frozen.uri
    part = frozen[1:]
    handle = pickle.dumps(frozen)
    del frozen
    gc.collect()
    assert pickle.loads(handle) == [1, 2, 3]
    del part
    gc.collect()
    with pytest.raises(FileNotFoundError):
        strata.List(uri)
    with pytest.raises(FileNotFoundError):
        pickle.loads(handle)


@KINDS
def test_a_pickle_is_a_handle_of_it_and_its_slice(kind):
    items = SAMPLES[kind] * 100
    frozen = strata.freeze(items)
    assert len(pickle.dumps(frozen)) < 500
    for part in (slice(None), slice(3, None, 2), slice(None, None, -3), slice(0, 0), slice(1, 2)):
        assert pickle.loads(pickle.dumps(frozen[part])) == items[part]


@pytest.mark.parametrize(
    ("start", "step", "count"),
    [(0, 1, 4), (3, 1, 1), (0, 2, 3), (2, -1, 4), (0, 0, 2), (0, -(2**63), 2), (1, 2**62, 3),
     (2**63, 1, 1), (0, 1, 2**64 - 1)],
)  # fmt: skip
def test_a_hostile_handle_reaches_nothing_outside_of_the_list(start, step, count):
    frozen = strata.freeze([1, 2, 3])
    handle = frozen.__reduce_ex__(5)[1][1]
    assert strata.List._from_handle(handle, 2, -2, 2) == [3, 1]
    with pytest.raises(ValueError):
        strata.List._from_handle(handle, start, step, count)


def test_one_that_was_never_made_is_no_crash():
    empty = strata.List.__new__(strata.List)
    for use in (len, iter, list, memoryview, lambda l: l[0], lambda l: l == [], lambda l: 1 in l):
        with pytest.raises((ValueError, TypeError, BufferError)):
            use(empty)


def _sum_part(part):
    return sum(part)


def test_slices_go_to_the_workers_of_a_pool():
    frozen = strata.freeze(range(1000))
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool:
        sums = list(pool.map(_sum_part, [frozen[i::10] for i in range(10)]))
    assert sum(sums) == sum(range(1000))


# Flat memory: three big lists, read by 8 workers.

WORKERS = 8
ITEMS = 600_000


def _pss_kb():
    """What this process takes of the memory: of a page that n have, an n-th."""
    with open("/proc/self/smaps_rollup") as rollup:
        for line in rollup:
            if line.startswith("Pss:"):
                return int(line.split()[1])
    raise AssertionError("no Pss in /proc/self/smaps_rollup")


def _read_all(lists, answers, turns):
    for one in lists:
        sum(one[:1000])  # what reading takes in a process for the first time
    answers.put(None)
    turns[0].get()  # all are there before anybody looks at the memory
    gc.collect()
    before = _pss_kb()
    answers.put(None)
    turns[1].get()
    answers.put(sum(sum(one) for one in lists))
    turns[2].get()
    answers.put(_pss_kb() - before)
    turns[3].get()


@pytest.mark.parametrize("method", START_METHODS)
def test_workers_that_read_big_lists_use_no_memory_of_their_own(method):
    context = multiprocessing.get_context(method)
    plain = [[i % 3 == 0 for i in range(ITEMS)], list(range(1000, 1000 + ITEMS)),
             [10**9 + 7 * i for i in range(ITEMS)]]  # fmt: skip
    want = sum(sum(one) for one in plain)
    lists = [strata.freeze(one) for one in plain]
    del plain
    data_kb = sum(one.nbytes for one in lists) / 1024
    answers, turns = strata.Queue(pickle=True), [strata.Queue() for _ in range(4)]
    workers = [
        context.Process(target=_read_all, args=(lists, answers, turns)) for _ in range(WORKERS)
    ]
    for worker in workers:
        worker.start()

    got = []
    for turn in turns:
        got.append([answers.get() for _ in workers])
        for _ in workers:
            turn.put(b"")
    assert got[2] == [want] * WORKERS
    grown_kb = sum(got[3])
    for worker in workers:
        worker.join()
        assert worker.exitcode == 0
    # Plain lists would be copied in each worker: 8 times the data, and more.
    assert grown_kb < 1.3 * data_kb
    print("%s: %d KiB of lists took %d KiB" % (method, data_kb, grown_kb))
    print("verified: %d workers that read big lists at flat memory" % WORKERS)


@pytest.mark.parametrize(("offset", "error"), [(0, "magic"), (12, "kind"), (16, "checksum")])
def test_damaged_bytes_of_a_list_are_noticed(uri, offset, error):
    strata.freeze(["abc", "defg"], uri)
    path = "/dev/shm/strata.%s" % uri[4:]
    os.chmod(path, 0o600)
    with open(path, "r+b") as file:
        file.seek(4096 + offset)
        file.write(b"\x09")
    with pytest.raises(strata.Error, match=error):
        strata.List(uri)


def test_damaged_items_of_a_list_are_noticed_by_verify(uri):
    strata.freeze(["abc", "defg"], uri)
    path = "/dev/shm/strata.%s" % uri[4:]
    os.chmod(path, 0o600)
    with open(path, "r+b") as file:
        file.seek(4096 + 64 + 8)  # where the first item ends
        file.write(b"\xff" * 8)
    frozen = strata.List(uri)
    assert list(frozen) == ["", ""]  # nothing outside of the list
    with pytest.raises(strata.CorruptError):
        frozen.verify()
