"""Holders of locks are killed at random under contention: nobody hangs, and nothing is lost."""

import multiprocessing
import os
import random
import signal
import struct
import threading
import time

import pytest
from processes import LONG_S

import strata

WORKERS = 4
KILLS = 40
SEED = int(os.environ.get("STRATA_SEED", "0")) or int.from_bytes(os.urandom(4), "little")

# Two numbers that are equal whenever the lock is free of a dead holder, and how often they were
# found different and repaired.
FIRST, SECOND, REPAIRS, DONE = range(4)


def add(lock, log, repaired):
    """Adds one to both numbers, in a critical section that is long enough to be killed in."""
    numbers = memoryview(log).cast("q")
    while True:
        with lock:
            if lock.recovered:
                if numbers[FIRST] != numbers[SECOND]:
                    numbers[SECOND] = numbers[FIRST]
                numbers[REPAIRS] += 1
                repaired()
            assert numbers[FIRST] == numbers[SECOND]
            numbers[FIRST] += 1
            for _ in range(200):
                pass
            numbers[SECOND] += 1


def add_under_lock(lock, log):
    add(lock, log, lock.repaired)


def write_under_lock(lock, log):
    class Writer:
        """The writers' side, which says of itself whether it was recovered."""

        recovered = property(lambda self: lock.recovered)
        __enter__ = lambda self: lock.write_lock.__enter__()
        __exit__ = lambda self, *args: lock.write_lock.__exit__(*args)

    add(Writer(), log, lock.repaired)


def kill_at_random(target, lock, log, still_works):
    """Keeps workers going, and kills one of them after the other."""
    print("seed:", SEED)
    choose = random.Random(SEED)
    context = multiprocessing.get_context("fork")

    def start():
        worker = context.Process(target=target, args=(lock, log), daemon=True)
        worker.start()
        return worker

    workers = [start() for _ in range(WORKERS)]
    numbers = memoryview(log).cast("q")
    try:
        for _ in range(KILLS):
            before = numbers[FIRST]
            end = time.monotonic() + LONG_S
            while numbers[FIRST] < before + 20:
                assert time.monotonic() < end, "nobody goes on"
                time.sleep(0.0005)
            time.sleep(choose.uniform(0, 0.002))
            doomed = choose.randrange(WORKERS)
            os.kill(workers[doomed].pid, signal.SIGKILL)
            workers[doomed].join(LONG_S)
            assert workers[doomed].exitcode == -signal.SIGKILL
            workers[doomed] = start()
    finally:
        for worker in workers:
            worker.kill()
            worker.join(LONG_S)
    still_works()
    return numbers


@pytest.mark.parametrize("kind", [strata.Lock, strata.RLock, strata.Condition])
def test_nobody_hangs_when_holders_of_a_lock_are_killed(kind):
    lock, log = kind(), strata.create(
        "shm:py-kills-%d" % os.getpid(), size=4096, lifetime="process"
    )

    def still_works():
        assert lock.acquire(timeout=LONG_S)
        if lock.recovered:
            lock.repaired()
        lock.release()

    try:
        numbers = kill_at_random(add_under_lock, lock, log, still_works)
        assert numbers[FIRST] - numbers[SECOND] in (0, 1)
        print("verified: %d kills of holders survived" % numbers[REPAIRS])
    finally:
        strata.remove(log.uri, force=True)


def test_nobody_hangs_when_writers_are_killed():
    lock, log = strata.RWLock(), strata.create(
        "shm:py-kills-%d" % os.getpid(), size=4096, lifetime="process"
    )

    def still_works():
        with lock.write_lock:
            if lock.recovered:
                lock.repaired()
        with lock.read_lock:
            pass

    try:
        numbers = kill_at_random(write_under_lock, lock, log, still_works)
        assert numbers[FIRST] - numbers[SECOND] in (0, 1)
    finally:
        strata.remove(log.uri, force=True)


def hold_permits(semaphore, log):
    numbers = memoryview(log).cast("q")
    while True:
        with semaphore:
            numbers[FIRST] += 1  # not exact: two hold permits at a time


def test_permits_of_killed_processes_come_back():
    semaphore, log = strata.BoundedSemaphore(2), strata.create(
        "shm:py-kills-%d" % os.getpid(), size=4096, lifetime="process"
    )

    def still_works():
        assert semaphore.acquire(timeout=LONG_S) and semaphore.acquire(timeout=LONG_S)
        assert semaphore.acquire(False) is False
        semaphore.release(2)
        assert semaphore.get_value() == 2

    try:
        kill_at_random(hold_permits, semaphore, log, still_works)
    finally:
        strata.remove(log.uri, force=True)


def meet(barrier, met, results):
    turns = 0
    try:
        while True:
            barrier.wait(LONG_S)
            turns += 1
            if turns == 1:
                met.release()
    except threading.BrokenBarrierError as error:
        os.write(results, struct.pack("q", turns if "killed" in str(error) else -1))


def test_a_barrier_tells_all_others_of_a_killed_process():
    choose = random.Random(SEED)
    context = multiprocessing.get_context("fork")
    barrier, met = strata.Barrier(3), strata.Semaphore(0)
    for _ in range(10):
        reader, writer = os.pipe()
        workers = [context.Process(target=meet, args=(barrier, met, writer)) for _ in range(3)]
        for worker in workers:
            worker.start()
        os.close(writer)
        # Of who has never come, nobody knows.
        for _ in workers:
            assert met.acquire(timeout=LONG_S)
        time.sleep(choose.uniform(0, 0.01))
        os.kill(workers[1].pid, signal.SIGKILL)
        for worker in workers:
            worker.join(LONG_S)
            assert worker.exitcode in (0, -signal.SIGKILL)
        with os.fdopen(reader, "rb") as pipe:
            turns = struct.unpack("2q", pipe.read())
        assert -1 not in turns
        assert barrier.broken
        barrier.reset()
