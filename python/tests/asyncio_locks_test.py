"""Waiting in asyncio for what is shared between processes."""

import asyncio
import os
import threading

import pytest
from processes import LONG_S, in_child, in_thread, killed_child

import strata


def run(main):
    """Runs it, with a watchdog."""
    return asyncio.run(asyncio.wait_for(main(), LONG_S))


def lock_like():
    """What has acquire_async() and `async with`, each taken as far as it goes."""
    readers_writer = strata.RWLock()
    return {
        "Lock": strata.Lock(),
        "RLock": strata.RLock(),
        "Semaphore": strata.Semaphore(1),
        "BoundedSemaphore": strata.BoundedSemaphore(1),
        "Condition": strata.Condition(),
        "write_lock": readers_writer.write_lock,
        "ShardedLock": strata.ShardedLock(4),
    }


KINDS = sorted(lock_like())


@pytest.mark.parametrize("kind", KINDS)
def test_tasks_exclude_each_other(kind):
    lock = lock_like()[kind]
    inside, most, rounds = 0, 0, 0

    async def work():
        nonlocal inside, most, rounds
        for _ in range(20):
            async with lock:
                inside += 1
                most = max(most, inside)
                await asyncio.sleep(0)
                inside -= 1
                rounds += 1

    async def main():
        await asyncio.gather(*(work() for _ in range(3)))

    run(main)
    assert (most, rounds) == (1, 60)


@pytest.mark.parametrize("kind", KINDS)
def test_a_time_out_gives_false_and_the_loop_goes_on(kind):
    lock = lock_like()[kind]

    async def main():
        assert await lock.acquire_async() is True
        ticks = 0

        async def tick():
            nonlocal ticks
            while True:
                ticks += 1
                await asyncio.sleep(0)

        ticker = asyncio.ensure_future(tick())
        assert await lock.acquire_async(0) is False
        assert await lock.acquire_async(timeout=0.02) is False
        ticker.cancel()
        assert ticks > 0
        lock.release()

    run(main)


@pytest.mark.parametrize("kind", KINDS)
def test_a_cancelled_task_holds_nothing(kind):
    lock = lock_like()[kind]

    async def main():
        async with lock:
            waiter = asyncio.ensure_future(lock.acquire_async())
            await asyncio.sleep(0.005)
            waiter.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiter
        assert await lock.acquire_async(0) is True
        lock.release()

    run(main)


def test_a_lock_that_another_process_releases_is_got():
    lock = strata.Lock()
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        lock.acquire()
        os.write(writer, b"!")
        threading.Event().wait(0.05)
        lock.release()
        os._exit(0)
    os.read(reader, 1)

    async def main():
        async with lock:
            assert lock.locked()

    run(main)
    os.waitpid(child, 0)
    os.close(reader)
    os.close(writer)


def test_a_killed_holder_is_survived():
    lock = strata.Lock()
    killed_child(lock.acquire)

    async def main():
        async with lock:
            assert lock.recovered
            lock.repaired()

    run(main)


def test_readers_wait_for_a_writer():
    lock = strata.RWLock()

    async def main():
        async with lock.read_lock, lock.read_lock:
            assert lock.readers == 2
            assert await lock.write_lock.acquire_async(0.01) is False
        async with lock.write_lock:
            assert await lock.read_lock.acquire_async(0.01) is False

    run(main)
    assert lock.readers == 0 and not lock.written


def test_an_event_is_awaited():
    event = strata.Event()

    async def main():
        assert await event.wait_async(0.01) is False
        waiter = asyncio.ensure_future(event.wait_async())
        await asyncio.sleep(0)
        assert in_child(event.set) == "None"
        assert await waiter is True

    run(main)


def test_a_condition_wakes_tasks():
    condition = strata.Condition()
    items = []

    async def take():
        async with condition:
            await condition.wait_for_async(lambda: items)
            return items.pop()

    async def main():
        takers = [asyncio.ensure_future(take()) for _ in range(3)]
        for item in range(3):
            await asyncio.sleep(0.002)
            async with condition:
                items.append(item)
                condition.notify()
        assert sorted(await asyncio.gather(*takers)) == [0, 1, 2]
        async with condition:
            assert await condition.wait_async(0.01) is False
            assert await condition.wait_for_async(lambda: 0, 0.01) == 0
        with pytest.raises(RuntimeError):
            await condition.wait_async()

    run(main)
    assert not condition.locked()


def test_a_cancelled_wait_for_a_condition_holds_the_lock_until_it_is_left():
    condition = strata.Condition()

    async def wait():
        async with condition:
            try:
                await condition.wait_async()
            finally:
                assert condition.locked()
                assert in_thread(lambda: condition.acquire(False)) is False

    async def main():
        waiter = asyncio.ensure_future(wait())
        await asyncio.sleep(0.005)
        assert not condition.locked()
        waiter.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiter
        assert not condition.locked()

    run(main)


def test_tasks_meet_at_a_barrier():
    barrier = strata.Barrier(3)

    async def main():
        for _ in range(5):
            indices = await asyncio.gather(*(barrier.wait_async() for _ in range(3)))
            assert sorted(indices) == [0, 1, 2]
        waiter = asyncio.ensure_future(barrier.wait_async())
        await asyncio.sleep(0.005)
        assert barrier.n_waiting == 1
        waiter.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiter
        assert barrier.n_waiting == 0 and not barrier.broken
        with pytest.raises(threading.BrokenBarrierError):
            await barrier.wait_async(0.01)
        assert barrier.broken

    run(main)
