"""100,000 increments by four processes."""

import contextlib
import multiprocessing
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from multiprocessing import shared_memory

import harness
import peers
from harness import Crew, Goal, Row, Served, Table, check

WORKERS = 4
OPERATIONS = 100_000
FORK = multiprocessing.get_context("fork")


@contextlib.contextmanager
def block(size=64):
    made = shared_memory.SharedMemory(create=True, size=size)
    try:
        yield made
    finally:
        made.close()
        made.unlink()


def crew(target, each, *arguments):
    made = Crew(FORK)
    for index in range(WORKERS):
        made.add(target, each, index, *arguments)
    return made


# --- shared memory of the standard library -------------------------------------------------------


def _slot_by_numpy(begin, each, index, name):
    import numpy

    shm = shared_memory.SharedMemory(name)
    slots = numpy.ndarray((WORKERS,), numpy.int64, buffer=shm.buf)
    begin()
    for _ in range(each):
        slots[index] += 1
    del slots
    shm.close()


def _slot_by_view(begin, each, index, name):
    shm = shared_memory.SharedMemory(name)
    slots = shm.buf.cast("q")
    begin()
    for _ in range(each):
        slots[index] += 1
    slots.release()
    shm.close()


def own_slot(target):
    def run(operations):
        each = operations // WORKERS
        with block() as shm:
            seconds = crew(target, each, shm.name).time()
            check(list(shm.buf[: 8 * WORKERS].cast("q")), [each] * WORKERS)
        return seconds

    return run


def _locked_by_numpy(begin, each, index, name, lock):
    import numpy

    shm = shared_memory.SharedMemory(name)
    slots = numpy.ndarray((1,), numpy.int64, buffer=shm.buf)
    begin()
    for _ in range(each):
        with lock:
            slots[0] += 1
    del slots
    shm.close()


def locked_by_numpy(operations):
    return locked(FORK.Lock(), operations)


def locked_by_strata(operations):
    import strata

    return locked(strata.Lock(), operations)


def locked(lock, operations):
    each = operations // WORKERS
    with block() as shm:
        seconds = crew(_locked_by_numpy, each, shm.name, lock).time()
        check(shm.buf[:8].cast("q")[0], each * WORKERS)
    return seconds


def _value(begin, each, index, value):
    begin()
    for _ in range(each):
        with value.get_lock():
            value.value += 1


def value(operations):
    counter = FORK.Value("q", 0)
    each = operations // WORKERS
    seconds = crew(_value, each, counter).time()
    check(counter.value, each * WORKERS)
    return seconds


def _array(begin, each, index, array):
    begin()
    for _ in range(each):
        with array.get_lock():
            array[index] += 1


def array(operations):
    counters = FORK.Array("q", WORKERS)
    each = operations // WORKERS
    seconds = crew(_array, each, counters).time()
    check(sum(counters), each * WORKERS)
    return seconds


# --- messages ------------------------------------------------------------------------------------


def _pipe(begin, each, index, ends):
    mine = ends[index]
    begin()
    for _ in range(each):
        mine.send(1)


def pipe(operations):
    each = operations // WORKERS
    pipes = [FORK.Pipe(duplex=False) for _ in range(WORKERS)]

    def drain():
        total = sum(here.recv() for here, _ in pipes for _ in range(each))
        check(total, each * WORKERS)

    seconds = crew(_pipe, each, [there for _, there in pipes]).time(drain)
    for here, there in pipes:
        here.close()
        there.close()
    return seconds


def _queue(begin, each, index, queue):
    begin()
    for _ in range(each):
        queue.put(1)


def queue_of(make):
    def run(operations):
        each, queue = operations // WORKERS, make()

        def drain():
            check(sum(queue.get() for _ in range(each * WORKERS)), each * WORKERS)

        return crew(_queue, each, queue).time(drain)

    return run


def _manager(begin, each, index, counter, lock):
    begin()
    for _ in range(each):
        with lock:
            counter.value += 1


def manager(operations):
    each = operations // WORKERS
    with FORK.Manager() as server:
        counter, lock = server.Value("q", 0), server.Lock()
        seconds = crew(_manager, each, counter, lock).time()
        check(counter.value, each * WORKERS)
    return seconds


# --- threads -------------------------------------------------------------------------------------


def threads(one_lock):
    """Four threads of one process: a lock for all, or a number of its own for each."""

    def run(operations):
        each, slots, lock = operations // WORKERS, [0] * WORKERS, threading.Lock()
        gate = threading.Barrier(WORKERS + 1)

        def work(index):
            gate.wait()
            for _ in range(each):
                if one_lock:
                    with lock:
                        slots[0] += 1
                else:
                    slots[index] += 1

        workers = [threading.Thread(target=work, args=(index,)) for index in range(WORKERS)]
        for worker in workers:
            worker.start()
        gate.wait()
        begin = time.perf_counter()
        for worker in workers:
            worker.join()
        seconds = time.perf_counter() - begin
        check(sum(slots), each * WORKERS)
        return seconds

    return run


# --- servers -------------------------------------------------------------------------------------

_redis_port = None


@contextlib.contextmanager
def redis_server():
    """A Redis of our own on the loopback interface, as long as the table is measured."""
    global _redis_port
    program = shutil.which("redis-server")
    if program is None or not harness.has("redis"):
        yield
        return
    import redis

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        server = subprocess.Popen(
            [program, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", folder],
            stdout=subprocess.DEVNULL,
        )
        try:
            deadline = time.monotonic() + harness.WATCHDOG_S
            while True:
                try:
                    redis.Redis(port=port).ping()
                    break
                except redis.ConnectionError:
                    if time.monotonic() > deadline or server.poll() is not None:
                        raise
                    time.sleep(0.01)
            _redis_port = port
            yield
        finally:
            _redis_port = None
            server.terminate()
            server.wait()


def _redis(begin, each, index, port, batch):
    import redis

    client = redis.Redis(port=port)
    client.ping()
    begin()
    if batch == 1:
        for _ in range(each):
            client.incr("counter")
        return
    for first in range(0, each, batch):
        pipeline = client.pipeline(transaction=False)
        for _ in range(min(batch, each - first)):
            pipeline.incr("counter")
        pipeline.execute()


def redis_incr(batch):
    def run(operations):
        if _redis_port is None:
            raise harness.Absent("redis-server (apt-get install redis-server)")
        import redis

        client = redis.Redis(port=_redis_port)
        client.delete("counter")
        each = operations // WORKERS
        seconds = crew(_redis, each, _redis_port, batch).time()
        check(int(client.get("counter")), each * WORKERS)
        return seconds

    return run


def _serve_ray(end):
    import ray

    ray.init(
        num_cpus=WORKERS + 1, include_dashboard=False, logging_level="error", log_to_driver=False
    )
    try:
        while True:
            end.send(_ray_seconds(ray, end.recv()))
    except EOFError:
        ray.shutdown()


RAY = Served(_serve_ray)


def _ray_seconds(ray, operations):
    @ray.remote
    class Counter:
        def __init__(self):
            self.value = 0

        def add(self, number):
            self.value += number
            return self.value

    @ray.remote
    def work(counter, each):
        for _ in range(each):
            ray.get(counter.add.remote(1))

    each, counter = operations // WORKERS, Counter.remote()
    # Once before: its processes are started, and know the function.
    ray.get([work.remote(counter, 1) for _ in range(WORKERS)])
    begin = time.perf_counter()
    ray.get([work.remote(counter, each) for _ in range(WORKERS)])
    seconds = time.perf_counter() - begin
    check(ray.get(counter.add.remote(0)), (each + 1) * WORKERS)
    ray.kill(counter)
    return seconds


# --- Strata --------------------------------------------------------------------------------------


def _strata_add(begin, each, index, counter):
    begin()
    for _ in range(each):
        counter.add(1)


def strata_counter(kind):
    def run(operations):
        import strata

        counter = getattr(strata, kind)()
        each = operations // WORKERS
        seconds = crew(_strata_add, each, counter).time()
        total = counter.value() if callable(counter.value) else counter.value
        check(total, each * WORKERS)
        return seconds

    return run


@contextlib.contextmanager
def around():
    try:
        with redis_server():
            yield
    finally:
        RAY.close()


OWN_SLOT = "shared_memory + NumPy, a slot each"
PIPE = "Pipe, a message each"
VALUE = "multiprocessing.Value, locked"
STRATA_LOCK = "strata.Lock, NumPy"

TABLE = Table(
    key="counters",
    title="Counting by four processes",
    operation="one increment",
    around=around,
    rows=[
        Row(OWN_SLOT, own_slot(_slot_by_numpy), OPERATIONS, (peers.NUMPY,)),
        Row("shared_memory + memoryview, a slot each", own_slot(_slot_by_view), OPERATIONS),
        Row("strata.Counter", strata_counter("Counter"), OPERATIONS, (peers.strata("Counter"),)),
        Row(
            "strata.ShardedCounter",
            strata_counter("ShardedCounter"),
            OPERATIONS,
            (peers.strata("ShardedCounter"),),
        ),
        Row(STRATA_LOCK, locked_by_strata, OPERATIONS, (peers.strata("Lock"), peers.NUMPY)),
        Row("multiprocessing.Lock, NumPy", locked_by_numpy, OPERATIONS, (peers.NUMPY,)),
        Row(VALUE, value, OPERATIONS),
        Row("multiprocessing.Array, locked", array, OPERATIONS),
        Row("four threads, one threading.Lock", threads(one_lock=True), OPERATIONS),
        Row("four threads, a number each", threads(one_lock=False), OPERATIONS),
        Row(PIPE, pipe, OPERATIONS),
        Row("SimpleQueue, a message each", queue_of(FORK.SimpleQueue), OPERATIONS),
        Row("Queue, a message each", queue_of(FORK.Queue), OPERATIONS),
        Row("Redis INCR", redis_incr(1), 8_000, (peers.REDIS,)),
        Row("Redis INCR, 100 in a pipeline", redis_incr(100), 40_000, (peers.REDIS,)),
        Row("Manager().Value and Lock", manager, 2_000),
        Row("Ray actor", RAY.run, 800, (peers.RAY,)),
    ],
    goals=(
        Goal("strata.Counter", OWN_SLOT, 1.0),
        Goal("strata.Counter", PIPE, 1 / 30),
        Goal(STRATA_LOCK, VALUE, 1 / 3),
    ),
)
