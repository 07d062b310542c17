"""Semaphores, events, conditions, barriers, and locks of many: as threading has them."""

import multiprocessing
import os
import pickle
import threading

import pytest
from processes import (
    LONG_S,
    START_METHODS,
    in_child,
    in_thread,
    interrupted,
    killed_child,
    run_python,
    wait_until,
)

import strata

KINDS = [
    (strata.Semaphore, ()),
    (strata.BoundedSemaphore, ()),
    (strata.Event, ()),
    (strata.RWLock, ()),
    (strata.Condition, ()),
    (strata.Barrier, (2,)),
    (strata.ShardedLock, (8,)),
]


@pytest.mark.parametrize(("kind", "arguments"), KINDS)
def test_each_has_a_segment_that_says_what_it_is(kind, arguments, uri):
    thing = kind(*arguments, where=uri)
    assert thing.uri == uri and thing.name == uri[len("shm:") :]
    assert strata.stat(uri)["type"] == "strata." + kind.__name__
    assert uri in repr(thing)
    assert kind(*arguments, where=uri).uri == uri
    with pytest.raises(ValueError, match="strata." + kind.__name__):
        strata.Lock(uri)
    with pytest.raises(TypeError):
        kind(*arguments, where=7)
    assert kind(*arguments).uri != kind(*arguments).uri


@pytest.mark.parametrize(("kind", "arguments"), KINDS)
def test_a_pickle_attaches_and_never_makes(kind, arguments):
    thing = kind(*arguments)
    text = pickle.dumps(thing)
    assert pickle.loads(text).uri == thing.uri
    uri = thing.uri
    del thing
    with pytest.raises(FileNotFoundError):
        pickle.loads(text)
    with pytest.raises(FileNotFoundError):
        strata.stat(uri)


@pytest.mark.parametrize(("kind", "arguments"), KINDS)
def test_exit_with_one_that_is_alive_says_nothing(kind, arguments):
    code = "import strata; thing = strata.%s(*%r); use = lambda: thing" % (
        kind.__name__,
        arguments,
    )
    assert run_python(code) == ""


# Semaphore


def test_a_semaphore_counts_what_anybody_releases():
    semaphore = strata.Semaphore(2)
    assert semaphore.acquire() and semaphore.acquire()
    assert semaphore.acquire(False) is False
    assert semaphore.acquire(timeout=0.01) is False
    assert semaphore.get_value() == 0
    assert in_child(lambda: semaphore.release(3)) == "None"
    assert semaphore.get_value() == 3
    semaphore.release()
    semaphore.release(n=2)
    with semaphore:
        assert semaphore.get_value() == 5
    assert strata.Semaphore(0).get_value() == 0
    for wrong in (0, -1, 1 << 31, 1 << 80):
        with pytest.raises((ValueError, OverflowError)):
            semaphore.release(wrong)
    with pytest.raises(ValueError):
        semaphore.release((1 << 31) - 1)
    with pytest.raises(TypeError):
        semaphore.release("1")
    with pytest.raises(ValueError):
        strata.Semaphore(-1)


def test_a_release_wakes_a_waiter_of_another_process():
    semaphore = strata.Semaphore(0)
    context = multiprocessing.get_context("fork")
    worker = context.Process(target=semaphore.release)
    worker.start()
    assert semaphore.acquire(timeout=LONG_S)
    worker.join(LONG_S)


def test_a_bounded_semaphore_gives_back_what_is_held_and_no_more():
    semaphore = strata.BoundedSemaphore(2)
    with pytest.raises(ValueError, match="released too often"):
        semaphore.release()
    semaphore.acquire()
    in_thread(semaphore.release)  # by any thread of the process
    semaphore.acquire()
    assert in_child(semaphore.release).startswith("InvalidArgumentError")
    assert in_child(lambda: (semaphore.acquire(False), semaphore.acquire(False))) == "(True, False)"
    with pytest.raises(ValueError):
        semaphore.release(2)
    semaphore.release()
    with pytest.raises(ValueError, match="Semaphore counts higher"):
        strata.BoundedSemaphore(63)
    with pytest.raises(ValueError):
        strata.BoundedSemaphore(0)


def test_permits_come_back_from_killed_processes():
    semaphore = strata.BoundedSemaphore(2)
    killed_child(lambda: (semaphore.acquire(), semaphore.acquire()))
    assert semaphore.acquire(timeout=LONG_S)
    wait_until(lambda: semaphore.acquire(False))
    assert semaphore.get_value() == 0


@pytest.mark.parametrize("kind", [strata.Semaphore, strata.BoundedSemaphore])
def test_one_name_has_one_value(kind, uri):
    kind(3, uri).acquire()
    assert kind(where=uri).get_value() == 2
    assert kind(3, uri).get_value() == 2
    with pytest.raises(ValueError, match="made with a value of 3"):
        kind(2, uri)


# Event


def test_an_event_is_set_until_it_is_cleared():
    event = strata.Event()
    assert not event.is_set()
    assert event.wait(0) is False and event.wait(0.01) is False
    assert in_child(event.set) == "None"
    assert event.is_set() and event.wait() is True
    event.clear()
    assert not event.is_set()
    thread = threading.Thread(target=event.wait)
    thread.start()
    event.set()
    thread.join(LONG_S)
    assert not thread.is_alive()


# RWLock


def test_many_read_or_one_writes():
    lock = strata.RWLock()
    with lock.read_lock:
        assert lock.readers == 1 and not lock.written
        assert in_thread(lambda: lock.read_lock.acquire(False)) is True
        assert in_child(lambda: lock.read_lock.acquire(False)) == "True"
        assert in_child(lambda: lock.write_lock.acquire(False)) == "False"
    with pytest.raises(strata.StateError, match="does not read"):
        lock.read_lock.release()
    other = strata.RWLock()
    with other.write_lock:
        assert other.written
        assert other.holder()[0] == os.getpid()
        assert in_thread(lambda: other.read_lock.acquire(timeout=0.01)) is False
        assert in_child(lambda: other.write_lock.acquire(False)) == "False"
        with pytest.raises(RuntimeError):
            in_thread(other.write_lock.release)
    with pytest.raises(RuntimeError):
        other.write_lock.release()


def test_a_thread_that_would_wait_for_itself_is_told():
    lock = strata.RWLock()
    with lock.read_lock, lock.read_lock:
        with pytest.raises(RuntimeError, match="cannot become a writer"):
            lock.write_lock.acquire()
    with lock.write_lock:
        with pytest.raises(RuntimeError):
            lock.read_lock.acquire()
        with pytest.raises(RuntimeError):
            lock.write_lock.acquire()
    assert lock.readers == 0 and not lock.written


def test_a_killed_reader_is_forgotten():
    lock = strata.RWLock()
    killed_child(lock.read_lock.acquire)
    assert lock.write_lock.acquire(timeout=LONG_S)
    assert not lock.recovered


def test_after_a_killed_writer_readers_are_told_to_repair():
    lock = strata.RWLock()
    killed_child(lock.write_lock.acquire)
    with pytest.raises(strata.StateError, match="repair"):
        lock.read_lock.acquire(timeout=LONG_S)
    with lock.write_lock:
        assert lock.recovered
        lock.repaired()
    with lock.read_lock:
        assert not lock.recovered
    same = pickle.loads(pickle.dumps(lock.write_lock))
    with same:
        assert lock.written


# Condition


@pytest.mark.parametrize("lock", [None, strata.Lock, strata.RLock])
def test_a_condition_wakes_who_waits(lock):
    condition = strata.Condition() if lock is None else strata.Condition(lock())
    items = []

    def take():
        with condition:
            assert condition.wait_for(lambda: items, LONG_S)
            return items.pop()

    got = []
    threads = [threading.Thread(target=lambda: got.append(take())) for _ in range(3)]
    for thread in threads:
        thread.start()
    for item in range(3):
        with condition:
            items.append(item)
            condition.notify()
    for thread in threads:
        thread.join(LONG_S)
    assert sorted(got) == [0, 1, 2]


def test_a_condition_has_to_be_held():
    condition = strata.Condition()
    for function in (condition.wait, condition.notify, condition.notify_all):
        with pytest.raises(RuntimeError):
            function()
    condition.acquire()
    with pytest.raises(RuntimeError, match="another thread"):
        in_thread(condition.notify)
    with pytest.raises(ValueError):
        condition.notify(-1)
    condition.release()
    with pytest.raises(TypeError):
        strata.Condition(threading.Lock())


def test_a_wait_gives_back_the_lock_as_often_as_it_was_taken():
    condition = strata.Condition()
    with condition, condition:
        assert condition.wait(0.01) is False
        assert in_thread(lambda: condition.acquire(False)) is False
        assert condition.wait_for(lambda: False, 0.01) is False
    assert not condition.locked()
    # It was free meanwhile.
    seen = []

    def take():
        with condition:
            seen.append(1)

    with condition, condition:
        thread = threading.Thread(target=take)
        thread.start()
        while not seen:
            condition.wait(0.001)
    thread.join(LONG_S)


def consume(condition, ready):
    with condition:
        ready.release()
        os._exit(0 if condition.wait(LONG_S) else 1)


@pytest.mark.parametrize("method", START_METHODS)
def test_a_condition_wakes_other_processes(method):
    lock = strata.Lock()
    condition, ready = strata.Condition(lock), strata.Semaphore(0)
    context = multiprocessing.get_context(method)
    workers = [context.Process(target=consume, args=(condition, ready)) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        assert ready.acquire(timeout=LONG_S)
    with lock:
        condition.notify_all()
    for worker in workers:
        worker.join(LONG_S)
        assert worker.exitcode == 0


def test_a_killed_waiter_and_a_killed_notifier_hang_nobody():
    condition = strata.Condition()
    killed_child(lambda: (condition.acquire(), condition.notify_all()))
    with condition:
        assert condition.recovered
        condition.repaired()
        assert condition.wait(0.01) is False
        assert not condition.recovered


# Barrier


def test_a_barrier_lets_all_go_on_turn_after_turn():
    calls = []
    barrier = strata.Barrier(3, action=lambda: calls.append(barrier.n_waiting))
    assert barrier.parties == 3 and barrier.n_waiting == 0 and not barrier.broken
    turns = 20
    indices = [[] for _ in range(turns)]

    def work():
        for turn in range(turns):
            indices[turn].append(barrier.wait(LONG_S))

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LONG_S)
    assert [sorted(turn) for turn in indices] == [[0, 1, 2]] * turns
    assert calls == [2] * turns
    assert strata.Barrier(1).wait() == 0


def arrive(barrier, turns):
    for _ in range(turns):
        barrier.wait(LONG_S)


@pytest.mark.parametrize("method", START_METHODS)
def test_a_barrier_joins_processes(method):
    barrier = strata.Barrier(3)
    context = multiprocessing.get_context(method)
    workers = [context.Process(target=arrive, args=(barrier, 50)) for _ in range(2)]
    for worker in workers:
        worker.start()
    arrive(barrier, 50)
    for worker in workers:
        worker.join(LONG_S)
        assert worker.exitcode == 0
    assert not barrier.broken


def test_a_time_out_and_abort_break_it_until_it_is_reset():
    barrier = strata.Barrier(2, timeout=0.01)
    with pytest.raises(threading.BrokenBarrierError, match="ran out of time"):
        barrier.wait()
    assert barrier.broken and barrier.n_waiting == 0
    with pytest.raises(RuntimeError):
        barrier.wait(LONG_S)
    barrier.reset()
    assert not barrier.broken
    barrier.abort()
    with pytest.raises(threading.BrokenBarrierError, match="abort"):
        barrier.wait(LONG_S)


def outcome_of_wait(barrier):
    """What a thread that waits there gets in the end."""
    outcome = []

    def wait():
        try:
            outcome.append(barrier.wait(LONG_S))
        except threading.BrokenBarrierError as error:
            outcome.append(str(error))

    thread = threading.Thread(target=wait)
    thread.start()
    wait_until(lambda: barrier.n_waiting == 1)
    return thread, outcome


def test_who_waits_is_told_of_reset_and_abort():
    barrier = strata.Barrier(2)
    thread, outcome = outcome_of_wait(barrier)
    barrier.reset()
    thread.join(LONG_S)
    assert "reset" in outcome[0]
    thread, outcome = outcome_of_wait(barrier)
    barrier.abort()
    thread.join(LONG_S)
    assert "abort" in outcome[0]


def test_an_action_that_raises_breaks_it():
    barrier = strata.Barrier(1, action=lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        barrier.wait()
    assert barrier.broken
    with pytest.raises(TypeError):
        strata.Barrier(2, action=7)


def test_those_who_wait_for_a_killed_process_are_told():
    barrier = strata.Barrier(2)
    gate = strata.Event()

    def once_and_wait():
        barrier.wait(LONG_S)
        gate.wait(LONG_S)

    child = os.fork()
    if child == 0:
        try:
            once_and_wait()
        finally:
            os.kill(os.getpid(), 9)
    barrier.wait(LONG_S)
    thread, outcome = outcome_of_wait(barrier)
    gate.set()
    os.waitpid(child, 0)
    thread.join(LONG_S)
    assert "killed" in outcome[0]
    barrier.reset()
    assert not barrier.broken


def test_workers_that_end_as_they_should_are_replaced():
    barrier = strata.Barrier(2)
    context = multiprocessing.get_context("fork")
    for _ in range(3):
        workers = [context.Process(target=arrive, args=(barrier, 2)) for _ in range(2)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join(LONG_S)
            assert worker.exitcode == 0
    thread, outcome = outcome_of_wait(barrier)
    assert barrier.wait(LONG_S) == 1
    thread.join(LONG_S)
    assert outcome == [0]


def wait_and_stay(barrier, met, gate):
    barrier.wait(LONG_S)
    met.release()
    gate.wait(LONG_S)


def test_any_process_may_come_to_any_turn():
    barrier, met, gate = strata.Barrier(2), strata.Semaphore(0), strata.Event()
    context = multiprocessing.get_context("fork")
    # Those of the turns before are there still, and wait for other things.
    workers = []
    for _ in range(3):
        pair = [context.Process(target=wait_and_stay, args=(barrier, met, gate)) for _ in range(2)]
        for worker in pair:
            worker.start()
        for worker in pair:
            assert met.acquire(timeout=LONG_S)
        workers += pair
    thread, outcome = outcome_of_wait(barrier)
    assert barrier.wait(LONG_S) == 1
    thread.join(LONG_S)
    assert outcome == [0]
    gate.set()
    for worker in workers:
        worker.join(LONG_S)
        assert worker.exitcode == 0


def test_what_is_no_barrier_is_refused(uri):
    for parties in (0, -1, 5000):
        with pytest.raises((ValueError, TypeError)):
            strata.Barrier(parties)
    strata.Barrier(3, where=uri)
    with pytest.raises(ValueError, match="3 parties"):
        strata.Barrier(2, where=uri)


# ShardedLock


def test_a_key_has_one_lock_in_every_process(uri):
    locks = strata.ShardedLock(64, uri)
    assert len(locks) == 64
    keys = ["mesh", "météo", b"\x00\xff", 0, -1, 1 << 70]
    here = [repr(locks.of(key)) for key in keys]
    code = (
        "import strata, sys; locks = strata.ShardedLock(64, sys.argv[1]);"
        "print([repr(locks.of(key)) for key in %r])"
    )
    assert run_python(code % (keys,), uri).strip() == repr(here)
    assert len({repr(locks.of(key)) for key in range(1000)}) == 64
    with pytest.raises(TypeError):
        locks.of(1.5)
    with pytest.raises(ValueError, match="64 shards"):
        strata.ShardedLock(32, uri)
    for shards in (0, 5000):
        with pytest.raises(ValueError):
            strata.ShardedLock(shards)


def test_shards_are_locks_of_their_own():
    locks = strata.ShardedLock(4)
    with locks[0]:
        assert locks[-4].locked() and not locks[1].locked()
        assert in_thread(lambda: locks.acquire(False)) is False
        assert not any(lock.locked() for lock in [locks[1], locks[2], locks[3]])
        same = pickle.loads(pickle.dumps(locks[0]))
        assert same.locked()
        assert in_child(lambda: pickle.loads(pickle.dumps(locks))[0].acquire(False)) == "False"
    with pytest.raises(IndexError):
        locks[4]
    with locks:
        assert all(lock.locked() for lock in locks)
        assert in_thread(lambda: locks[3].acquire(False)) is False
        with pytest.raises(RuntimeError):
            in_thread(locks.release)
    assert not any(lock.locked() for lock in locks)
    killed_child(locks[2].acquire)
    assert locks.acquire(timeout=LONG_S)
    assert locks.recovered and locks[2].recovered and not locks[1].recovered


# Ctrl-C


def test_ctrl_c_ends_every_wait_and_leaves_nothing_held():
    interrupted("s = strata.Semaphore(0)", "s.acquire()")
    interrupted("s = strata.BoundedSemaphore(1); s.acquire()", "s.acquire()")
    interrupted("e = strata.Event()", "e.wait()")
    lock = "l = strata.RWLock(); threading.Thread(target=l.%s.acquire).start()"
    interrupted(lock % "write_lock", "l.read_lock.acquire()", "assert l.readers == 0")
    interrupted(lock % "read_lock", "l.write_lock.acquire()", "assert not l.written")
    interrupted("c = strata.Condition(); c.acquire()", "c.wait()", "c.release()")
    after = "assert b.n_waiting == 0 and not b.broken"
    interrupted("b = strata.Barrier(2)", "b.wait()", after)
