"""A Queue whose producers and consumers are killed at random: nobody hangs, nothing is lost."""

import multiprocessing
import os
import queue
import random
import signal
import struct
import time

import strata

PRODUCERS = 3
CONSUMERS = 3
KILLS = 40
SEED = int(os.environ.get("STRATA_SEED", "0")) or int.from_bytes(os.urandom(4), "little")


STOP = 100  # where the log has a flag; an Event of multiprocessing hangs once a user is killed


def _produce(q, log, producer):
    """Numbers its messages, and says after each that it has been published."""
    published = strata.attach(log).view().cast("Q")
    while not published[STOP]:
        number = published[producer] + 1
        try:
            if number % 2:
                q.put(struct.pack("QQ", producer, number), timeout=0.05)
            else:
                with q.loan(0.05) as slot:
                    struct.pack_into("QQ", slot.view, 0, producer, number)
                    slot.nbytes = 16
        except queue.Full:
            continue
        published[producer] = number


def _consume(q, results):
    """Says for each message that it was received, before its slot goes back."""
    while True:
        with q.receive() as message:
            producer, number = struct.unpack("QQ", message.view)
            os.write(results, struct.pack("QQ", producer, number))  # at once, up to PIPE_BUF


def _received(pipe):
    """What was said in the pipe, until there is no more."""
    data = b""
    while True:
        try:
            data += os.read(pipe, 1 << 16)
        except BlockingIOError:
            return list(struct.iter_unpack("QQ", data[: len(data) // 16 * 16]))


def test_nobody_hangs_and_nothing_is_lost_but_what_a_killed_consumer_had():
    print("seed:", SEED)
    choose = random.Random(SEED)
    context = multiprocessing.get_context("fork")
    q = strata.Queue(slots=8, slot_bytes=64)
    log = strata.create("shm:py-killed-%d" % os.getpid(), size=4096, lifetime="last_detach")
    published = log.view().cast("Q")
    pipe, results = os.pipe()
    os.set_blocking(pipe, False)

    def producer(index):
        process = context.Process(target=_produce, args=(q, log.uri, index))
        process.start()
        return process

    def consumer():
        process = context.Process(target=_consume, args=(q, results))
        process.start()
        return process

    producers = [producer(i) for i in range(PRODUCERS)]
    consumers = [consumer() for _ in range(CONSUMERS)]
    got = []
    killed_consumers = 0
    for _ in range(KILLS):
        # Not before something has come: work goes on whoever was killed.
        before = len(got)
        while len(got) < before + 50:
            got += _received(pipe)
        index = choose.randrange(PRODUCERS)
        if choose.random() < 0.5:
            os.kill(producers[index].pid, signal.SIGKILL)
            producers[index].join()
            producers[index] = producer(index)
        else:
            os.kill(consumers[index].pid, signal.SIGKILL)
            consumers[index].join()
            killed_consumers += 1
            consumers[index] = consumer()
    published[STOP] = 1
    for process in producers:
        process.join()
        assert process.exitcode == 0
    # The rest, until all slots are free again, those of the dead too.
    while not q.empty():
        got += _received(pipe)
        time.sleep(0)
    for process in consumers:
        os.kill(process.pid, signal.SIGKILL)
        process.join()
    got += _received(pipe)
    held = [q.loan(60) for _ in range(q.maxsize)]
    assert len(held) == 8

    missing = 0
    for index in range(PRODUCERS):
        numbers = [number for who, number in got if who == index]
        # One that was killed between a publication and its note publishes that number again.
        missing += len(set(range(1, published[index] + 1)) - set(numbers))
    assert missing <= killed_consumers + CONSUMERS
    print("verified: %d kills of producers and consumers of a queue" % KILLS)
    print("verified: %d messages through a queue whose users were killed" % len(got))


def test_the_slots_of_a_killed_process_come_back_to_one_who_waits():
    q = strata.Queue(slots=4)
    context = multiprocessing.get_context("fork")
    ready = context.Event()

    def hold():
        held = [q.loan(0) for _ in range(4)]
        ready.set()
        signal.pause()
        del held

    holder = context.Process(target=hold)
    holder.start()
    ready.wait()
    try:
        q.put(b"x", timeout=0.05)
        raise AssertionError("all slots were held")
    except queue.Full:
        pass
    holder.kill()
    holder.join()
    for _ in range(4):
        q.put(b"x", timeout=60)
    assert q.qsize() == 4
