"""What a lock costs that nobody else wants, and one that somebody has."""

import multiprocessing
import threading
import time

import peers
from harness import Goal, Row, Table, check

COUNT = 100_000


def timed(loop):
    """loop(lock, count) is timed; `make` gives it a fresh lock."""

    def of(make):
        def run(operations):
            lock = make()
            begin = time.perf_counter()
            loop(lock, operations)
            return time.perf_counter() - begin

        return run

    return of


@timed
def methods(lock, count):
    acquire, release = lock.acquire, lock.release
    for _ in range(count):
        acquire()
        release()


@timed
def statement(lock, count):
    for _ in range(count):
        with lock:
            pass


def refused(make):
    """acquire(False) of a lock that another thread of this process has."""

    def run(operations):
        lock, taken, done = make(), threading.Event(), threading.Event()

        def hold():
            with lock:
                taken.set()
                done.wait()

        holder = threading.Thread(target=hold)
        holder.start()
        taken.wait()
        acquire, got = lock.acquire, 0
        begin = time.perf_counter()
        for _ in range(operations):
            got += acquire(False)
        seconds = time.perf_counter() - begin
        done.set()
        holder.join()
        check(got, 0)
        return seconds

    return run


def strata_lock():
    import strata

    return strata.Lock()


def table(key, title, how, at_most):
    ours, peer = "strata.Lock", "multiprocessing.Lock"
    return Table(
        key=key,
        title=title,
        operation="once",
        rows=[
            Row(peer, how(multiprocessing.Lock), COUNT),
            Row(ours, how(strata_lock), COUNT, (peers.strata("Lock"),)),
            Row("threading.Lock, one process only", how(threading.Lock), COUNT),
        ],
        goals=(Goal(ours, peer, at_most),),
    )


TABLES = [
    table("lock", "A free lock: acquire() and release()", methods, 1.2),
    table("with", "A free lock: with lock", statement, 1.0),
    table("refused", "A lock that is taken: acquire(False)", refused, 10.0),
]
