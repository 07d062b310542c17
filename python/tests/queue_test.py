"""Queue: messages between processes and threads, copied and in place, and what bad input gets."""

import asyncio
import gc
import multiprocessing
import os
import pickle
import queue
import signal
import subprocess
import sys
import threading
from concurrent.futures import ProcessPoolExecutor

import pytest

import strata

START_METHODS = ["fork", "forkserver", "spawn"]


def test_messages_come_in_order_and_unchanged():
    q = strata.Queue()
    sent = [bytes([i]) * i for i in range(60)]
    for message in sent:
        q.put(message)
    assert q.qsize() == 60
    assert [q.get() for _ in sent] == sent
    assert q.empty()


@pytest.mark.parametrize(
    "message", [b"abc", bytearray(b"abc"), memoryview(b"abc"), memoryview(b"xabc")[1:], b""]
)
def test_what_has_the_buffer_protocol_may_be_put(message):
    q = strata.Queue()
    q.put(message)
    assert q.get() == bytes(message)


def test_arrays_may_be_put_without_a_cast():
    from array import array

    q = strata.Queue()
    q.put(array("d", [1.5, 2.5]))
    assert array("d", q.get()).tolist() == [1.5, 2.5]


def test_full_and_empty_are_the_standard_ones():
    q = strata.Queue(slots=2, slot_bytes=8)
    for look in (q.get_nowait, lambda: q.get(False), lambda: q.get(block=False),
                 lambda: q.get(timeout=0), lambda: q.get(True, 0.01), lambda: q.receive(0)):
        with pytest.raises(queue.Empty):
            look()
    q.put(b"1")
    q.put(b"2")
    assert q.full()
    for look in (lambda: q.put_nowait(b"3"), lambda: q.put(b"3", False),
                 lambda: q.put(b"3", timeout=-1), lambda: q.put(b"3", True, 0.01),
                 lambda: q.loan(0)):
        with pytest.raises(queue.Full):
            look()
    assert (q.get(), q.get(), q.qsize()) == (b"1", b"2", 0)


def test_what_does_not_fit_says_how_large_slots_are_and_what_to_do():
    q = strata.Queue(slot_bytes=16)
    with pytest.raises(ValueError, match=r"17 bytes.* holds 16.*slot_bytes=32"):
        q.put(bytes(17))
    q.put(bytes(16))
    assert q.qsize() == 1


@pytest.mark.parametrize("message", ["text", 17, None, {"a": 1}])
def test_objects_are_refused_without_pickle_with_the_remedy(message):
    q = strata.Queue()
    with pytest.raises(TypeError, match="pickle=True"):
        q.put(message)
    assert q.empty()


def test_a_queue_of_pickles_gives_objects():
    q = strata.Queue(pickle=True)
    for message in ({"a": [1, 2.5]}, None, b"bytes", "text", ()):
        q.put(message)
        assert q.get() == message


class Trap:
    """Its pickle says what to run."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (self.path,)


def test_a_reader_of_bytes_never_runs_what_they_say(tmp_path):
    trap = pickle.dumps(Trap(str(tmp_path / "ran")))
    q = strata.Queue()
    q.put(trap)
    assert q.get() == trap
    assert not (tmp_path / "ran").exists()


def test_bytes_and_pickles_are_not_taken_for_each_other(uri, tmp_path):
    pickles = strata.Queue(uri, pickle=True)
    pickles.put(Trap(str(tmp_path / "ran")))
    with pytest.raises(ValueError, match="pickle=True"):
        strata.Queue(uri)
    assert not (tmp_path / "ran").exists()
    strata.remove(uri, force=True)
    del pickles
    strata.Queue(uri)
    with pytest.raises(ValueError, match="pickle=False"):
        strata.Queue(uri, pickle=True)


def test_a_name_of_something_else_is_refused(uri):
    strata.create(uri, (4,), "float64")
    with pytest.raises(ValueError, match="array"):
        strata.Queue(uri)


def test_by_its_name_it_is_the_same_one(uri):
    a = strata.Queue(uri, slots=5, slot_bytes=100)
    assert (a.maxsize, a.slot_bytes) == (8, 100)
    b = strata.Queue(uri)
    a.put(b"x")
    assert b.get() == b"x"
    assert (b.maxsize, b.slot_bytes, b.uri) == (8, 100, uri)
    strata.Queue(uri, slots=8, slot_bytes=64)
    with pytest.raises(ValueError, match="8 slots of 100 bytes"):
        strata.Queue(uri, slot_bytes=101)
    with pytest.raises(ValueError, match="less than was asked for"):
        strata.Queue(uri, slots=9)


@pytest.mark.parametrize(
    "options",
    [{"slots": 0}, {"slots": -1}, {"slots": 1 << 21}, {"slot_bytes": 0}, {"slot_bytes": 1 << 31}],
)
def test_sizes_that_cannot_be_are_refused(options):
    with pytest.raises(ValueError):
        strata.Queue(**options)


def test_a_timeout_that_is_none_is_refused():
    q = strata.Queue()
    with pytest.raises(TypeError, match="timeout"):
        q.get(timeout="soon")
    with pytest.raises(ValueError, match="NaN"):
        q.get(timeout=float("nan"))


# In place.


def test_what_is_written_into_a_loan_is_received_in_place():
    q = strata.Queue(slot_bytes=64)
    with q.loan() as slot:
        assert len(slot.view) == 64
        slot.view[:5] = b"hello"
        slot.nbytes = 5
        assert q.empty()
    with q.receive() as message:
        assert (message.view.readonly, message.nbytes, bytes(message.view)) == (True, 5, b"hello")
        assert q.empty()
    with q.loan() as slot:
        slot.view[:] = bytes(range(64))
    assert q.get() == bytes(range(64))


def test_a_loan_that_fails_is_given_back_unpublished():
    q = strata.Queue(slots=2)
    for _ in range(10):
        with pytest.raises(KeyError):
            with q.loan(0) as slot:
                slot.view[:] = bytes(4096)
                raise KeyError
    assert q.empty()


def test_views_end_with_the_slot():
    q = strata.Queue()
    with q.loan() as slot:
        written = slot.view
    with q.receive() as message:
        read = message.view
        assert message.view is read
    for view in (written, read):
        with pytest.raises(ValueError, match="released"):
            bytes(view)
    for ended in (slot, message):
        with pytest.raises(ValueError, match="given back"):
            _ = ended.view
        with pytest.raises(BufferError, match="given back"):
            memoryview(ended)


def test_a_slice_that_outlives_the_message_stays_that_message():
    q = strata.Queue(slots=2, slot_bytes=8)
    q.put(b"kept....")
    with q.receive() as message:
        part = message.view[:4]
    for _ in range(10):
        q.put(b"other...")
        q.get()
    assert bytes(part) == b"kept"
    with pytest.raises(queue.Full):
        for _ in range(2):
            q.put_nowait(b"x")
    part.release()
    q.put_nowait(b"y")


def test_a_message_does_not_change_after_it_was_published():
    q = strata.Queue(slots=2, slot_bytes=8)
    part = None
    with pytest.raises(BufferError, match="del them"):
        with q.loan() as slot:
            part = slot.view[:4]
    assert q.empty()
    part[:] = b"late"
    q.put(b"other...")
    with pytest.raises(queue.Full):
        q.put_nowait(b"x")
    del part
    q.put_nowait(b"x")
    assert (q.get(), q.get()) == (b"other...", b"x")


def test_numpy_looks_into_a_message_without_a_copy():
    numpy = pytest.importorskip("numpy")
    q = strata.Queue(slot_bytes=80)
    with q.loan() as slot:
        numpy.frombuffer(slot.view, "f8")[:] = numpy.arange(10)
    with q.receive() as message:
        array = numpy.frombuffer(message.view, "f8")
        assert not array.flags.writeable
    assert array.sum() == 45


def test_slots_that_are_dropped_come_back():
    q = strata.Queue(slots=2)
    for _ in range(10):
        q.loan(0)
        gc.collect()
    q.put(b"a")
    q.receive(0)
    for _ in range(2):
        q.put(b"b", timeout=0)


@pytest.mark.parametrize("nbytes", [-1, 17])
def test_a_message_cannot_be_longer_than_its_slot(nbytes):
    q = strata.Queue(slot_bytes=16)
    with q.loan() as slot:
        with pytest.raises(ValueError, match="16 bytes"):
            slot.nbytes = nbytes
    assert len(q.get()) == 16


def test_slots_are_of_queues_of_bytes():
    q = strata.Queue(pickle=True)
    with pytest.raises(TypeError, match="put"):
        q.loan()
    with pytest.raises(TypeError, match="put"):
        q.receive()


def test_views_outlive_close():
    q = strata.Queue()
    q.put(b"message")
    message = q.receive()
    view = message.view
    q.close()
    with pytest.raises(ValueError, match="closed"):
        q.put(b"")
    del q
    gc.collect()
    assert bytes(view) == b"message"
    message.release()


@pytest.mark.parametrize("wait", ["get", "receive"])
def test_a_queue_may_be_closed_while_another_thread_waits_for_a_message(wait):
    q = strata.Queue("shm:py-closed-%d" % os.getpid())
    try:
        other = strata.Queue(q.uri)
        got = []

        def take():
            message = getattr(q, wait)()
            got.append(bytes(message))

        waiter = threading.Thread(target=take)
        waiter.start()
        q.close()
        other.put(b"message")
        waiter.join()
        assert got == [b"message"] or other.qsize() == 1  # closed before it waited
    finally:
        strata.remove(other.uri, force=True)


# Between threads and processes.


def _echo(requests, answers):
    while True:
        message = requests.get()
        if not message:
            return
        answers.put(message[::-1])


@pytest.mark.parametrize("method", START_METHODS)
def test_processes_of_any_start_method_share_it(method):
    context = multiprocessing.get_context(method)
    requests, answers = strata.Queue(slots=4), strata.Queue(slots=4)
    worker = context.Process(target=_echo, args=(requests, answers))
    worker.start()
    for i in range(100):
        requests.put(b"%d" % i)
        assert answers.get(timeout=60) == (b"%d" % i)[::-1]
    requests.put(b"")
    worker.join()
    assert worker.exitcode == 0


def _put_squares(q, numbers):
    for number in numbers:
        q.put(number * number)
    return os.getpid()


def test_pools_of_processes_take_it_as_an_argument():
    q = strata.Queue(pickle=True, slots=256)
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool:
        pids = list(pool.map(_put_squares, [q, q], [range(50), range(50, 100)]))
    assert os.getpid() not in pids
    assert sorted(q.get(timeout=0) for _ in range(100)) == [n * n for n in range(100)]


def test_a_queue_that_is_gone_is_not_made_again():
    handle = pickle.dumps(strata.Queue())
    gc.collect()
    with pytest.raises(FileNotFoundError):
        pickle.loads(handle)


def test_a_handle_of_something_else_is_refused():
    lock = strata.Lock()
    with pytest.raises(ValueError, match="strata.Lock"):
        strata.Queue._from_handle(lock.__reduce_ex__(5)[1][1])


def test_a_forked_child_holds_nothing_of_its_parent():
    q = strata.Queue(slots=2, slot_bytes=8)
    q.put(b"parent..")
    with q.receive() as message:
        child = os.fork()
        if child == 0:
            try:
                message.release()
                q.put(b"child...", timeout=60)
            finally:
                os._exit(0)
        os.waitpid(child, 0)
        assert bytes(message.view) == b"parent.."
        assert q.get(timeout=60) == b"child..."
        q.put_nowait(b"x")
        with pytest.raises(queue.Full):
            q.put_nowait(b"y")
    q.put_nowait(b"y")


def test_threads_share_one_object():
    q = strata.Queue(slots=4)
    count = 300

    def produce(first):
        for i in range(count):
            q.put(b"%d" % (first + i))

    got = []

    def consume():
        for _ in range(count):
            got.append(int(q.get()))

    threads = [threading.Thread(target=produce, args=(i * count,)) for i in range(3)]
    threads += [threading.Thread(target=consume) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(got) == list(range(3 * count))


def test_other_threads_run_while_one_waits():
    q = strata.Queue()
    waiter = threading.Thread(target=q.get)
    waiter.start()
    assert sum(range(1000)) == 499500
    q.put(b"")
    waiter.join(60)
    assert not waiter.is_alive()


@pytest.mark.parametrize("call", ["q.get()", "[q.put(b'') for _ in range(9)]", "q.receive()"])
def test_ctrl_c_ends_a_wait(call):
    code = (
        "import strata, sys\n"
        "q = strata.Queue(slots=2)\n"
        "try:\n"
        "    print('waits', flush=True)\n"
        "    %s\n"
        "except KeyboardInterrupt:\n"
        "    print('interrupted')\n" % call
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout.readline() == "waits\n"
        while child.poll() is None:  # one that comes before the wait begins ends it as well
            child.send_signal(signal.SIGINT)
            try:
                child.wait(0.2)
            except subprocess.TimeoutExpired:
                pass
        assert child.stdout.read() == "interrupted\n"


# asyncio


def test_tasks_put_and_get_without_blocking_the_loop():
    async def main():
        q = strata.Queue(slots=2)
        got = []

        async def consume():
            for _ in range(20):
                got.append(await q.get_async())

        consumer = asyncio.create_task(consume())
        for i in range(20):
            await q.put_async(b"%d" % i)
        await consumer
        return got

    assert asyncio.run(main()) == [b"%d" % i for i in range(20)]


def test_tasks_time_out_with_the_standard_exceptions():
    async def main():
        q = strata.Queue(slots=2)
        with pytest.raises(queue.Empty):
            await q.get_async(0.01)
        with pytest.raises(queue.Empty):
            await q.get_async(timeout=0)
        await q.put_async(b"")
        await q.put_async(b"")
        with pytest.raises(queue.Full):
            await q.put_async(b"", timeout=0.01)
        with pytest.raises(TypeError, match="pickle=True"):
            await q.put_async("text")

    asyncio.run(main())


def test_a_cancelled_task_took_no_message():
    async def main():
        q = strata.Queue()
        task = asyncio.create_task(q.get_async())
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        q.put(b"still there")
        await asyncio.sleep(0.05)
        return q.get(timeout=0)

    assert asyncio.run(main()) == b"still there"


def test_its_name_is_gone_with_the_last_user():
    q = strata.Queue()
    uri = q.uri
    assert strata.stat(uri)["type"] == "strata.Queue"
    q.close()
    with pytest.raises(FileNotFoundError):
        strata.stat(uri)


def test_long_messages_are_whole_while_others_are_sent():
    q = strata.Queue(slots=4, slot_bytes=1 << 20)
    messages = [bytes([i]) * (1 << 20) for i in range(8)]
    sender = threading.Thread(target=lambda: [q.put(message) for message in messages])
    sender.start()
    assert [q.get() for _ in messages] == messages
    sender.join()

