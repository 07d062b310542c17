"""Locks between threads and processes, with the interfaces of threading and multiprocessing."""

import multiprocessing
import os
import pickle
import threading
import time
from concurrent.futures import ProcessPoolExecutor

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

LOCKS = [strata.Lock, strata.RLock]


@pytest.mark.parametrize("kind", LOCKS)
def test_acquire_and_release_are_those_of_threading(kind):
    lock = kind()
    assert not lock.locked() and lock.holder() is None
    assert lock.acquire() is True
    assert lock.locked()
    pid, text = lock.holder()
    assert pid == os.getpid() and str(pid) in text
    assert in_thread(lambda: lock.acquire(False)) is False
    assert in_thread(lambda: lock.acquire(blocking=False)) is False
    assert in_thread(lambda: lock.acquire(block=False)) is False
    assert in_thread(lambda: lock.acquire(True, 0.01)) is False
    assert in_thread(lambda: lock.acquire(timeout=0)) is False
    assert in_thread(lambda: lock.acquire(timeout=-1)) is False
    lock.release()
    assert not lock.locked()
    with lock:
        assert lock.locked()
    assert in_thread(lambda: lock.acquire(timeout=None)) is True


@pytest.mark.parametrize("kind", LOCKS)
def test_only_the_thread_that_holds_it_releases_it(kind):
    lock = kind()
    with pytest.raises(RuntimeError, match="nobody holds it"):
        lock.release()
    lock.acquire()
    with pytest.raises(strata.StateError, match="another thread of this process holds it"):
        in_thread(lock.release)
    assert lock.locked()
    assert "StateError" in in_child(lock.release)
    assert str(os.getpid()) in in_child(lock.release)
    assert lock.locked()
    lock.release()


def test_a_lock_is_not_recursive_and_an_rlock_is():
    lock = strata.Lock()
    with lock:
        assert lock.acquire(False) is False
    rlock = strata.RLock()
    with rlock, rlock:
        assert rlock.acquire(False) is True
        rlock.release()
        assert in_thread(lambda: rlock.acquire(False)) is False
    assert not rlock.locked()
    assert in_thread(lambda: rlock.acquire(False)) is True


@pytest.mark.parametrize("kind", LOCKS)
def test_the_same_name_is_the_same_lock(kind, uri):
    one, two = kind(uri), kind(uri)
    assert one.uri == two.uri == uri
    with one:
        assert two.locked()
        assert in_thread(lambda: two.acquire(False)) is False
        code = "import strata, sys; print(strata.%s(sys.argv[1]).acquire(False))" % kind.__name__
        assert run_python(code, uri) == "False\n"
    one.acquire()
    two.release()
    assert not one.locked()


@pytest.mark.parametrize("kind", LOCKS)
def test_what_is_no_lock_is_refused(kind, uri):
    with pytest.raises(TypeError):
        kind(7)
    with pytest.raises(ValueError):
        kind("")
    with pytest.raises(ValueError):
        kind("nonsense")
    strata.create(uri, (4,), "float64")
    with pytest.raises(ValueError, match="array of <f8"):
        kind(uri)
    lock = kind()
    with pytest.raises(TypeError):
        lock.acquire(True, "soon")
    with pytest.raises(TypeError):
        lock.acquire(True, None, 3)
    with pytest.raises(TypeError):
        lock.acquire(later=True)
    with pytest.raises(TypeError):
        lock.acquire(True, blocking=True)
    with pytest.raises(ValueError):
        lock.acquire(True, float("nan"))
    with pytest.raises(ValueError, match="__init__"):
        kind.__new__(kind).acquire()
    assert not lock.locked()


def test_an_rlock_and_a_lock_of_one_name_are_told_apart(uri):
    strata.Lock(uri)
    with pytest.raises(ValueError, match="strata.Lock"):
        strata.RLock(uri)


@pytest.mark.parametrize("kind", LOCKS)
def test_without_a_name_it_is_gone_with_its_last_user(kind):
    lock = kind()
    uri = lock.uri
    assert strata.stat(uri)["type"] == "strata." + kind.__name__
    del lock
    with pytest.raises(FileNotFoundError):
        strata.stat(uri)


@pytest.mark.parametrize("kind", LOCKS)
def test_a_child_does_not_hold_what_its_parent_held_when_it_was_forked(kind):
    lock = kind()
    lock.acquire()
    assert in_child(lambda: lock.acquire(False)) == "False"
    lock.release()
    assert in_child(lambda: (lock.acquire(False), in_child(lambda: lock.acquire(False)))) == (
        "(True, 'False')"
    )
    wait_until(lambda: lock.acquire(False))  # the child has ended with it
    lock.release()


@pytest.mark.parametrize("kind", LOCKS)
def test_a_killed_holder_is_survived_and_told_of(kind):
    lock = kind()
    assert not lock.recovered
    killed_child(lock.acquire)
    assert lock.acquire(timeout=LONG_S)
    assert lock.recovered
    lock.release()
    # Nobody has repaired yet.
    with lock:
        assert lock.recovered
        lock.repaired()
        assert not lock.recovered
    with lock:
        assert not lock.recovered
    with pytest.raises(RuntimeError):
        lock.repaired()


@pytest.mark.parametrize("kind", LOCKS)
def test_a_killed_holder_is_survived_while_its_own_children_live(kind):
    lock = kind()
    reader, writer = os.pipe()

    def hold_with_an_idle_child():
        lock.acquire()
        lock.release()
        child = os.fork()
        if child == 0:  # has all that its parent had open, and uses nothing of it
            os.close(writer)
            os.read(reader, 1)
            os._exit(0)
        lock.acquire()

    killed_child(hold_with_an_idle_child)
    assert lock.acquire(timeout=LONG_S)
    assert lock.recovered
    os.close(writer)  # the idle child ends
    os.close(reader)


@pytest.mark.parametrize("kind", LOCKS)
def test_a_poll_survives_a_killed_holder_too(kind):
    lock = kind()
    killed_child(lock.acquire)
    wait_until(lambda: lock.acquire(False))
    assert lock.recovered


@pytest.mark.parametrize("kind", LOCKS)
def test_a_waiter_is_woken(kind):
    lock = kind()
    lock.acquire()
    got = []
    thread = threading.Thread(target=lambda: got.append(lock.acquire(timeout=LONG_S)))
    thread.start()
    lock.release()
    thread.join(LONG_S)
    assert got == [True]


def test_ctrl_c_ends_a_wait_and_the_lock_is_not_held():
    before = "lock = strata.Lock(); lock.acquire()"
    after = "lock.release(); print(lock.locked())"
    assert interrupted(before, "lock.acquire()", after) == "False\n"
    assert interrupted(before, "lock.acquire(timeout=600)", after) == "False\n"
    before = "lock = strata.RLock(); threading.Thread(target=lock.acquire).start()"
    interrupted(before, "lock.acquire()")


def test_other_threads_run_while_one_waits():
    lock = strata.Lock()
    lock.acquire()
    waiter = threading.Thread(target=lock.acquire, args=(True, LONG_S))
    waiter.start()
    assert sum(range(100_000)) == 4_999_950_000
    lock.release()
    waiter.join(LONG_S)
    assert lock.locked()


def add(lock, counter, rounds):
    values = counter.view().cast("q")
    for _ in range(rounds):
        with lock:
            values[0] += 1
    return os.getpid()


@pytest.mark.parametrize("kind", LOCKS)
@pytest.mark.parametrize("method", START_METHODS)
def test_processes_that_were_given_it_exclude_each_other(kind, method, uri):
    counter = strata.create(uri, size=4096)
    lock = kind()
    context = multiprocessing.get_context(method)
    workers = [context.Process(target=add, args=(lock, counter, 2000)) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(LONG_S)
        assert worker.exitcode == 0
    assert counter.view().cast("q")[0] == 6000


@pytest.mark.parametrize("method", START_METHODS)
def test_pools_take_locks_as_arguments(method, uri):
    counter = strata.create(uri, size=4096)
    lock = strata.Lock()
    context = multiprocessing.get_context(method)
    with context.Pool(2) as pool:
        pool.starmap(add, [(lock, counter, 500)] * 4)
    with ProcessPoolExecutor(2, mp_context=context) as executor:
        list(executor.map(add, [lock] * 4, [counter] * 4, [500] * 4))
    assert counter.view().cast("q")[0] == 4000


@pytest.mark.parametrize("kind", LOCKS)
def test_a_pickle_attaches_and_never_makes(kind):
    lock = kind()
    text = pickle.dumps(lock)
    assert len(text) < 600
    same = pickle.loads(text)
    with lock:
        assert same.locked()
    del lock, same
    with pytest.raises(FileNotFoundError):
        pickle.loads(text)


def test_threads_exclude_each_other():
    lock = strata.Lock()
    counts = [0]

    def work():
        for _ in range(2000):
            with lock:
                now = counts[0]
                time.sleep(0)
                counts[0] = now + 1

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LONG_S)
    assert counts == [8000]


@pytest.mark.parametrize("kind", LOCKS)
def test_the_lock_beside_an_array_is_the_same_for_all_that_attach(kind, uri):
    mesh = strata.create(uri, (4,), "float64")
    lock = kind(mesh)
    other = kind(strata.attach(uri))
    assert lock.uri == uri
    with lock:
        assert other.locked()
        code = (
            "import strata, sys; s = strata.attach(sys.argv[1]);"
            "print(strata.%s(s).acquire(False))" % kind.__name__
        )
        assert run_python(code, uri) == "False\n"
        same = pickle.loads(pickle.dumps(lock))
        assert same.locked()
        assert in_child(lambda: same.acquire(False)) == "False"
    killed_child(other.acquire)
    assert lock.acquire(timeout=LONG_S) and lock.recovered
    assert not any(memoryview(mesh).cast("B"))
    lock.repaired()
    mesh.close()
    lock.release()


@pytest.mark.parametrize("mode", ["r", "c"])
def test_what_may_only_be_read_cannot_be_locked(mode, uri):
    mesh = strata.create(uri, (4,), "float64")
    with pytest.raises(PermissionError, match="attach it for writing"):
        strata.Lock(strata.attach(uri, mode))
    strata.Lock(mesh).acquire()
    mesh.close()
    with pytest.raises(ValueError):
        strata.Lock(mesh)
