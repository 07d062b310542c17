"""Cell: the newest value, whole, whoever is killed while he writes it."""

import asyncio
import gc
import multiprocessing
import os
import pickle
import random
import signal
import subprocess
import sys
import threading

import pytest

import strata

START_METHODS = ["fork", "forkserver", "spawn"]


def test_the_newest_value_is_read_and_versions_count():
    cell = strata.Cell(max_bytes=100)
    assert (cell.get(), cell.version, cell.read()) == (None, 0, (None, 0))
    values = [b"a", b"", bytes(100), bytearray(b"abc"), memoryview(b"x")]
    for version, value in enumerate(values, 1):
        assert cell.set(value) == version
        assert cell.get() == bytes(value)
        assert cell.read() == (bytes(value), version)
    assert (cell.version, cell.max_bytes) == (5, 100)


def test_what_it_cannot_hold_is_refused_with_the_remedy():
    cell = strata.Cell(max_bytes=8)
    cell.set(b"kept")
    with pytest.raises(ValueError, match="9 bytes.*holds 8.*max_bytes"):
        cell.set(bytes(9))
    for wrong in ("text", 7, None):
        with pytest.raises(TypeError, match="encode"):
            cell.set(wrong)
    assert cell.read() == (b"kept", 1)
    for size in (0, -1):
        with pytest.raises(ValueError, match="at least 1"):
            strata.Cell(max_bytes=size)


def test_by_its_name_it_is_the_same_one(uri):
    cell = strata.Cell(uri, max_bytes=50)
    cell.set(b"x")
    assert strata.Cell(uri).read() == (b"x", 1)
    assert strata.Cell(uri, max_bytes=50).max_bytes == 50
    with pytest.raises(ValueError, match="less than was asked for"):
        strata.Cell(uri, max_bytes=51)
    with pytest.raises(ValueError, match="strata.Cell"):
        strata.Queue(uri)


def test_wait_gives_the_newest_value_above_a_version():
    cell = strata.Cell()
    assert cell.wait(timeout=0) is None
    assert cell.wait(0, 0.01) is None
    cell.set(b"a")
    cell.set(b"b")
    assert cell.wait(0) == (b"b", 2)
    assert cell.wait(newer_than=1, timeout=0) == (b"b", 2)
    assert cell.wait(2, 0) is None
    assert cell.wait(timeout=0.01) is None
    setter = threading.Thread(target=cell.set, args=(b"c",))
    setter.start()
    assert cell.wait(2) == (b"c", 3)
    setter.join()


def test_ctrl_c_ends_a_wait():
    code = (
        "import strata\n"
        "try:\n"
        "    print('waits', flush=True)\n"
        "    strata.Cell().wait()\n"
        "except KeyboardInterrupt:\n"
        "    print('interrupted')\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout.readline() == "waits\n"
        while child.poll() is None:
            child.send_signal(signal.SIGINT)
            try:
                child.wait(0.2)
            except subprocess.TimeoutExpired:
                pass
        assert child.stdout.read() == "interrupted\n"


def _answer(questions, answers):
    version = 0
    while True:
        value, version = questions.wait(version)
        if value == b"end":
            return
        answers.set(value[::-1])


@pytest.mark.parametrize("method", START_METHODS)
def test_processes_of_any_start_method_share_it(method):
    context = multiprocessing.get_context(method)
    questions, answers = strata.Cell(max_bytes=16), strata.Cell(max_bytes=16)
    worker = context.Process(target=_answer, args=(questions, answers))
    worker.start()
    for i in range(1, 51):
        questions.set(b"q%d" % i)
        assert answers.wait(i - 1, 60) == ((b"q%d" % i)[::-1], i)
    questions.set(b"end")
    worker.join()
    assert worker.exitcode == 0


def test_without_a_name_it_is_gone_with_its_last_user():
    handle = pickle.dumps(strata.Cell())
    gc.collect()
    with pytest.raises(FileNotFoundError):
        pickle.loads(handle)


def test_tasks_wait_without_blocking_the_loop():
    async def main():
        cell = strata.Cell()
        assert await cell.wait_async(timeout=0.01) is None
        waiting = asyncio.create_task(cell.wait_async())
        await asyncio.sleep(0.01)
        assert not waiting.done()
        cell.set(b"now")
        assert await waiting == (b"now", 1)
        cancelled = asyncio.create_task(cell.wait_async())
        await asyncio.sleep(0)
        cancelled.cancel()
        with pytest.raises(asyncio.CancelledError):
            await cancelled
        return await cell.wait_async(0, 0)

    assert asyncio.run(main()) == (b"now", 1)


def _write_for_ever(cell, who):
    choose = random.Random(who)
    while True:
        cell.set(bytes([choose.randrange(256)]) * choose.randrange(1, 3000))


def test_values_are_whole_while_their_writers_are_killed():
    context = multiprocessing.get_context("fork")
    cell = strata.Cell()
    writers = []
    for number in range(20):
        writers.append(context.Process(target=_write_for_ever, args=(cell, number)))
        writers[-1].start()
        if len(writers) < 3:
            continue
        last = cell.version
        for _ in range(50):
            value, version = cell.wait(last, 60)
            assert value == value[:1] * len(value)
            assert version > last
            last = version
        killed = writers.pop(number % 3)
        os.kill(killed.pid, signal.SIGKILL)
        killed.join()
    for writer in writers:
        writer.kill()
        writer.join()
    # The last of them may have held the lock.
    value, version = cell.read()
    assert value == value[:1] * len(value)
    assert cell.set(b"still works") == version + 1
    print("verified: 20 kills of writers of a cell")


def test_a_stopped_writer_keeps_no_reader_waiting():
    context = multiprocessing.get_context("fork")
    cell = strata.Cell(max_bytes=1 << 20)
    cell.set(b"x" * (1 << 20))
    writer = context.Process(target=_write_for_ever, args=(cell, 1))
    writer.start()
    for _ in range(20):
        cell.wait(cell.version, 60)
        os.kill(writer.pid, signal.SIGSTOP)
        value, _ = cell.read()
        assert value == value[:1] * len(value)
        os.kill(writer.pid, signal.SIGCONT)
    writer.kill()
    writer.join()


def test_long_values_are_whole_while_another_thread_sets_them():
    cell = strata.Cell(max_bytes=1 << 20)
    end = threading.Event()

    def write():
        number = 0
        while not end.is_set():
            number += 1
            cell.set(bytes([number % 256]) * (1 << 20))

    writer = threading.Thread(target=write)
    writer.start()
    version = 0
    for _ in range(10):
        value, version = cell.wait(version, 60)
        assert len(value) == 1 << 20 and value.count(value[:1]) == 1 << 20
    end.set()
    writer.join()
