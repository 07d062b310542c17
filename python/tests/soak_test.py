"""Workers that use everything at once and are killed at random: nobody hangs, nothing is lost, nothing
is left. `./check --all` does it for a minute, and with a thousand spawned workers."""

import multiprocessing
import os
import queue
import random
import signal
import subprocess
import sys
import time
import uuid

import pytest

import strata

IS_THOROUGH = "STRATA_THOROUGH" in os.environ
SECONDS = 60 if IS_THOROUGH else 4
SPAWNED = 1000 if IS_THOROUGH else 24
WORKERS = 4
ACCOUNTS = 16
SEED = int(os.environ.get("STRATA_SEED", "0")) or int.from_bytes(os.urandom(4), "little")


@pytest.fixture(name="prefix")
def prefix_fixture():
    prefix = "shm:soak-%s" % uuid.uuid4().hex
    yield prefix
    for found in strata.ls(prefix + "*"):
        strata.remove(found["uri"], force=True)


def work(lock, pair, messages, accounts, numbers, words, stop):
    """One worker's traffic, until all are told to stop. What it asserts it asserts in vain if it is
    killed; else its exit status says so."""
    dice = random.Random(os.getpid())
    shown = pair.array()
    while not stop.is_set():
        # Two words that are equal whenever nobody holds the lock.
        if lock.acquire(timeout=60):
            if lock.recovered:
                shown[1] = shown[0]
                lock.repaired()
            assert shown[0] == shown[1]
            shown[0] += 1
            shown[1] += 1
            lock.release()
        try:
            if dice.random() < 0.5:
                messages.put(b"%d" % os.getpid(), timeout=0.01)
            else:
                assert int(messages.get(timeout=0.01)) > 0
        except (queue.Full, queue.Empty):
            pass
        # Money moves and never comes to be.
        giver, taker = dice.sample(range(ACCOUNTS), 2)
        with accounts.transaction():
            accounts[giver] -= 1
            accounts[taker] += 1
        place = dice.randrange(len(numbers))
        assert numbers[place] == place * 3
        assert words[place % len(words)] == "word %d" % (place % len(words))


def test_killed_workers_lose_nothing(prefix):
    print("seed:", SEED)
    dice = random.Random(SEED)
    lock = strata.Lock(prefix + "-lock")
    pair = strata.create(prefix + "-pair", (2,), "int64")
    messages = strata.Queue(prefix + "-queue", slots=16, slot_bytes=64)
    accounts = strata.Dict(prefix + "-accounts")
    for account in range(ACCOUNTS):
        accounts[account] = 100
    numbers = strata.freeze([number * 3 for number in range(10_000)], prefix + "-numbers")
    words = strata.freeze(["word %d" % number for number in range(100)], prefix + "-words")
    stop = strata.Event(prefix + "-stop")
    context = multiprocessing.get_context("fork")

    def start():
        worker = context.Process(
            target=work, args=(lock, pair, messages, accounts, numbers, words, stop))  # fmt: skip
        worker.start()
        return worker

    workers = [start() for _ in range(WORKERS)]
    end = time.monotonic() + SECONDS
    kills = 0
    while time.monotonic() < end:
        time.sleep(dice.random() * 0.05)
        victim = dice.randrange(WORKERS)
        if workers[victim].exitcode not in (None, -signal.SIGKILL):
            break  # it has failed; see below
        workers[victim].kill()
        workers[victim].join()
        workers[victim] = start()
        kills += 1
    stop.set()
    for worker in workers:
        worker.join()
    print("kills:", kills)
    assert [worker.exitcode for worker in workers] == [0] * WORKERS
    assert kills > 0

    assert sum(accounts[account] for account in range(ACCOUNTS)) == 100 * ACCOUNTS
    assert list(numbers)[::1000] == [number * 3 for number in range(0, 10_000, 1000)]
    if lock.acquire(timeout=60) and not lock.recovered:
        assert pair.array()[0] == pair.array()[1]
    lock.release()
    while True:
        try:
            assert int(messages.get_nowait()) > 0
        except queue.Empty:
            break
    checked = subprocess.run(
        [sys.executable, "-m", "strata", "check", prefix + "-accounts"],
        capture_output=True, text=True, check=False)  # fmt: skip
    assert checked.returncode == 0, checked.stdout + checked.stderr


def add_one(counter, array, is_doomed):
    counter.add(1)
    assert array[0] == 7
    if is_doomed:
        os.kill(os.getpid(), signal.SIGKILL)


def test_nothing_is_left_of_spawned_workers():
    before = {found["uri"] for found in strata.ls()}
    files = set(os.listdir("/dev/shm"))
    counter = strata.Counter()
    segment = strata.create(
        "shm:soak-%s" % uuid.uuid4().hex, (1000,), "int64", lifetime="last_detach")  # fmt: skip
    array = segment.array()
    array[:] = 7
    descriptors = len(os.listdir("/proc/self/fd"))
    context = multiprocessing.get_context("spawn")
    for first in range(0, SPAWNED, 4):
        several = [
            context.Process(target=add_one, args=(counter, array, number % 5 == 0))
            for number in range(first, first + 4)
        ]
        for worker in several:
            worker.start()
        for worker in several:
            worker.join()
        exits = [worker.exitcode for worker in several]
        assert all(status in (0, -signal.SIGKILL) for status in exits), exits
        del several, worker
    assert counter.value == SPAWNED
    assert len(os.listdir("/proc/self/fd")) <= descriptors + 1  # the resource tracker's pipe
    del array, segment, counter
    # Others may use the machine meanwhile: of what is there, nothing may be ours.
    left = [found for found in strata.ls() if found["uri"] not in before]
    assert not [found for found in left if "soak-" in found["uri"] or found.get("creator_pid") == os.getpid()]
    assert not [name for name in set(os.listdir("/dev/shm")) - files if "soak-" in name]


BYTES = 1 << (30 if IS_THOROUGH else 26)


def read_all(array, ready, done):
    assert int(array.sum()) == len(array)
    ready.release()
    done.wait()


def private_bytes(pid):
    """What a process has for itself alone."""
    with open("/proc/%d/smaps_rollup" % pid, encoding="ascii") as rollup:
        facts = dict(line.split(":", 1) for line in rollup if ":" in line and "kB" in line)
    return 1024 * sum(int(facts[name].split()[0]) for name in ("Private_Clean", "Private_Dirty"))


@pytest.mark.parametrize("method", ["fork", "forkserver", "spawn"])
def test_workers_that_read_a_large_array_have_no_copy_of_it(method):
    array = strata.create(
        "shm:soak-%s" % uuid.uuid4().hex, (BYTES,), "uint8", lifetime="last_detach").array()  # fmt: skip
    array[:] = 1
    context = multiprocessing.get_context(method)
    ready, done = strata.Semaphore(0), strata.Event()
    workers = [context.Process(target=read_all, args=(array, ready, done)) for _ in range(8)]
    for worker in workers:
        worker.start()
    for _ in workers:
        assert ready.acquire(timeout=120)
    most = max(private_bytes(worker.pid) for worker in workers)
    done.set()
    for worker in workers:
        worker.join()
        assert worker.exitcode == 0
    # What an interpreter with NumPy has for itself is less than that, and a copy would be more.
    assert most < BYTES * 0.75
