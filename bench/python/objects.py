"""An array of 1 MiB, made here, read by a worker that answers: a fresh one each time.

The peers with servers or threads of their own (Ray, vineyard, torch) run in processes that are
started anew: this process forks.
"""

import contextlib
import itertools
import multiprocessing
import time
import uuid
from multiprocessing import resource_tracker, shared_memory

import harness
import peers
from harness import SPAWN, Row, Served, Table, asked, check

FORK = multiprocessing.get_context("fork")
ITEMS = 131_072
NBYTES = 8 * ITEMS
COUNT = 100


def source():
    import numpy

    return numpy.arange(ITEMS, dtype="int64")


def ends(array):
    """What the worker answers: it has reached both ends."""
    return int(array[0]) + int(array[-1])


# --- by a message: send(array) gives what goes through the pipe and a function that cleans up;
# receive is the worker's.


def _worker(end, receive):
    while (message := end.recv()) is not None:
        end.send(receive(message))


def by_message(send, receive):
    def run(operations):
        array = source()
        # Before the fork: or else the worker has a tracker of its own, which complains in the end.
        resource_tracker.ensure_running()
        here, there = FORK.Pipe()
        worker = FORK.Process(target=_worker, args=(there, receive), daemon=True)
        worker.start()
        there.close()
        seconds = 0.0
        for number in range(operations + 1):
            array[0] = number
            begin = time.perf_counter()
            message, clean_up = send(array)
            answer = asked(here, message)
            clean_up()
            if number:  # the first time the worker imports what it needs
                seconds += time.perf_counter() - begin
            check(answer, number + ITEMS - 1)
        here.send(None)
        worker.join(harness.WATCHDOG_S)
        here.close()
        return seconds

    return run


def send_pickled(array):
    return array, lambda: None


def send_block(array):
    import numpy

    block = shared_memory.SharedMemory(create=True, size=NBYTES)
    numpy.ndarray(ITEMS, "int64", buffer=block.buf)[:] = array

    def clean_up():
        block.close()
        block.unlink()

    return block.name, clean_up


def receive_block(name):
    import numpy

    block = shared_memory.SharedMemory(name)
    answer = ends(numpy.ndarray(ITEMS, "int64", buffer=block.buf))
    block.close()
    return answer


def send_segment(array):
    import strata

    segment = strata.create(f"shm:bench-{uuid.uuid4().hex}", ITEMS, "int64", lifetime="last_detach")
    segment.array()[:] = array
    return segment, segment.close


def receive_segment(segment):
    answer = ends(segment.array())
    segment.close()
    return answer


# --- by a library with processes of its own ------------------------------------------------------


def answer_until_closed(end, once):
    """once(number) hands an array over whose first item is `number`, and gives the answer."""
    numbers = itertools.count()
    check(once(0), ITEMS - 1)
    with contextlib.suppress(EOFError):
        while True:
            operations = end.recv()
            begin = time.perf_counter()
            for number in itertools.islice(numbers, operations):
                check(once(number), number + ITEMS - 1)
            end.send(time.perf_counter() - begin)


def serve_ray(end):
    import ray

    ray.init(num_cpus=2, include_dashboard=False, logging_level="error", log_to_driver=False)
    array = source()

    @ray.remote
    class Reader:
        def read(self, array):
            return int(array[0]) + int(array[-1])

    reader = Reader.remote()

    def once(number):
        array[0] = number
        return ray.get(reader.read.remote(ray.put(array)))

    answer_until_closed(end, once)
    ray.shutdown()


def _torch_worker(queue, answers):
    while (tensor := queue.get()) is not None:
        answers.put(int(tensor[0]) + int(tensor[-1]))
        del tensor


def serve_torch(end):
    import torch
    import torch.multiprocessing

    torch.set_num_threads(1)
    context = torch.multiprocessing.get_context("spawn")
    queue, answers = context.SimpleQueue(), context.SimpleQueue()
    worker = context.Process(target=_torch_worker, args=(queue, answers))
    worker.start()
    tensor = torch.arange(ITEMS, dtype=torch.int64)

    def once(number):
        tensor[0] = number
        queue.put(tensor.clone())  # as all others: a fresh one, which torch moves to shared memory
        return answers.get()

    answer_until_closed(end, once)
    queue.put(None)
    worker.join()


def _vineyard_worker(end, socket):
    import vineyard

    client = vineyard.connect(socket)
    while (object_id := end.recv()) is not None:
        end.send(ends(client.get(vineyard.ObjectID(object_id))))


def serve_vineyard(end):
    import vineyard
    from vineyard.deploy import local

    # No port: with one it listens on all addresses.
    with local.start_vineyardd(meta="local", size="256Mi", rpc=False) as (_, socket, *_):
        client = vineyard.connect(socket)
        here, there = SPAWN.Pipe()
        worker = SPAWN.Process(target=_vineyard_worker, args=(there, socket))
        worker.start()
        array = source()

        def once(number):
            array[0] = number
            object_id = client.put(array)
            answer = asked(here, repr(object_id))
            client.delete(object_id)
            return answer

        answer_until_closed(end, once)
        here.send(None)
        worker.join()


RAY, TORCH, VINEYARD = Served(serve_ray), Served(serve_torch), Served(serve_vineyard)


@contextlib.contextmanager
def around():
    try:
        yield
    finally:
        for served in (RAY, TORCH, VINEYARD):
            served.close()


TABLE = Table(
    key="objects",
    title="A fresh array of 1 MiB, made here and read by a worker, and its answer",
    operation="once",
    around=around,
    rows=[
        Row(
            "shared_memory + NumPy, the name by a Pipe",
            by_message(send_block, receive_block),
            COUNT,
            (peers.NUMPY,),
        ),
        Row(
            "strata.create, the segment by a Pipe",
            by_message(send_segment, receive_segment),
            COUNT,
            (peers.strata("create"), peers.NUMPY),
        ),
        Row("NumPy array by a Pipe", by_message(send_pickled, ends), COUNT, (peers.NUMPY,)),
        Row("torch.multiprocessing", TORCH.run, COUNT, (peers.TORCH, peers.NUMPY)),
        Row("Ray, put and an actor", RAY.run, COUNT, (peers.RAY, peers.NUMPY)),
        Row("vineyard, put and get", VINEYARD.run, COUNT, (peers.VINEYARD, peers.NUMPY)),
    ],
)
