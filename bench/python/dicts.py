"""Dictionaries that several processes share."""

import contextlib
import multiprocessing
import time

import peers
from harness import Goal, Row, Table

ENTRIES = 1_000
COUNT = 5_000


@contextlib.contextmanager
def ultradict():
    import UltraDict

    made = UltraDict.UltraDict(buffer_size=1 << 20, auto_unlink=True)
    try:
        yield made
    finally:
        made.unlink()
        made.close()


@contextlib.contextmanager
def manager_dict():
    with multiprocessing.get_context("fork").Manager() as manager:
        yield manager.dict()


@contextlib.contextmanager
def strata_dict():
    import strata

    yield strata.Dict()


def setting(make):
    def run(operations):
        with make() as shared:
            keys = [f"key {number % ENTRIES}" for number in range(operations)]
            begin = time.perf_counter()
            for number, key in enumerate(keys):
                shared[key] = number
            seconds = time.perf_counter() - begin
            for number in range(max(0, operations - ENTRIES), operations):
                assert shared[keys[number]] == number
            return seconds

    return run


def getting(make):
    def run(operations):
        with make() as shared:
            for number in range(ENTRIES):
                shared[f"key {number}"] = number
            keys = [f"key {number % ENTRIES}" for number in range(operations)]
            begin = time.perf_counter()
            total = sum([shared[key] for key in keys])
            seconds = time.perf_counter() - begin
            assert total == sum(number % ENTRIES for number in range(operations))
            return seconds

    return run


def table(key, title, how, at_most, manager_count):
    ours, peer = "strata.Dict", "UltraDict"
    return Table(
        key=key,
        title=title,
        operation="once",
        rows=[
            Row("Manager().dict()", how(manager_dict), manager_count),
            Row(ours, how(strata_dict), COUNT, (peers.strata("Dict"),)),
            Row(peer, how(ultradict), COUNT, (peers.ULTRADICT,)),
        ],
        goals=(Goal(ours, peer, at_most),),
    )


TABLES = [
    table("dict-set", "A shared dictionary of 1,000 strings: set an int", setting, 1 / 5, 2_000),
    table("dict-get", "A shared dictionary of 1,000 strings: get an int", getting, 1.0, 2_000),
]
