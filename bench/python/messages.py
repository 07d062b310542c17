"""Messages of 1 KiB from one process to another."""

import ctypes
import multiprocessing
import os
import time
import uuid

import peers
from harness import WATCHDOG_S, Crew, Goal, Row, Table, check

FORK = multiprocessing.get_context("fork")
MESSAGE = bytes(range(256)) * 4
COUNT = 20_000


def one_way(produce, consume, operations, *ends):
    """`produce` in a process of its own; `consume` here, which has to see them all."""
    crew = Crew(FORK)
    crew.add(produce, operations, *ends)
    return crew.time(lambda: consume(operations))


def _send_bytes(begin, count, there):
    begin()
    for _ in range(count):
        there.send_bytes(MESSAGE)


def pipe(operations):
    here, there = FORK.Pipe(duplex=False)

    def drain(count):
        check(sum(len(here.recv_bytes()) for _ in range(count)), count * len(MESSAGE))

    seconds = one_way(_send_bytes, drain, operations, there)
    here.close()
    there.close()
    return seconds


def _put(begin, count, queue):
    begin()
    for _ in range(count):
        queue.put(MESSAGE)


def queue_of(make):
    def run(operations):
        queue = make()

        def drain(count):
            check(sum(len(queue.get()) for _ in range(count)), count * len(MESSAGE))

        return one_way(_put, drain, operations, queue)

    return run


def strata_queue():
    import strata

    return strata.Queue(slots=64, slot_bytes=1024)


def _iceoryx2_ends(name):
    import iceoryx2

    iceoryx2.set_log_level(iceoryx2.LogLevel.Fatal)
    node = iceoryx2.NodeBuilder.new().create(iceoryx2.ServiceType.Ipc)
    builder = node.service_builder(iceoryx2.ServiceName.new(name))
    builder = builder.publish_subscribe(iceoryx2.Slice[ctypes.c_uint8])
    service = builder.subscriber_max_buffer_size(64).enable_safe_overflow(False).open_or_create()
    return node, service


def _iceoryx2_publish(begin, count, name, drained):
    import iceoryx2

    node, service = _iceoryx2_ends(name)
    builder = service.publisher_builder().initial_max_slice_len(len(MESSAGE))
    strategy = iceoryx2.BackpressureStrategy.RetryUntilDelivered
    publisher = builder.backpressure_strategy(strategy).create()
    source = (ctypes.c_uint8 * len(MESSAGE)).from_buffer_copy(MESSAGE)
    begin()
    for _ in range(count):
        receivers = 0
        while receivers == 0:  # 0.10 gives up on a full buffer, whatever the strategy
            sample = publisher.loan_slice_uninit(len(MESSAGE))
            ctypes.memmove(sample.payload_ptr, source, len(MESSAGE))
            receivers = sample.assume_init().send()
            if receivers == 0:
                os.sched_yield()
    drained.wait()  # what is not received yet goes with the publisher
    del node


def iceoryx2(operations):
    name = f"strata-bench/{uuid.uuid4().hex}"
    node, service = _iceoryx2_ends(name)
    subscriber = service.subscriber_builder().create()
    drained = FORK.Event()

    def drain(count):
        total = seen = 0
        deadline = time.monotonic() + WATCHDOG_S
        while seen < count:
            sample = subscriber.receive()
            if sample is not None:
                total += len(ctypes.string_at(sample.payload_ptr, len(MESSAGE)))
                sample.delete()
                seen += 1
            else:
                os.sched_yield()  # it only polls; the other end may need this processor
                if time.monotonic() > deadline:
                    raise RuntimeError(f"iceoryx2: {seen} of {count} messages have come")
        drained.set()
        check(total, count * len(MESSAGE))

    seconds = one_way(_iceoryx2_publish, drain, operations, name, drained)
    subscriber.delete()
    del service, node
    return seconds


PIPE = "Pipe.send_bytes"
QUEUE = "multiprocessing.Queue"
OURS = "strata.Queue"

TABLE = Table(
    key="messages",
    title="Messages of 1 KiB, one process to another",
    operation="one message",
    rows=[
        Row(PIPE, pipe, COUNT),
        Row(OURS, queue_of(strata_queue), COUNT, (peers.strata("Queue"),)),
        Row("multiprocessing.SimpleQueue", queue_of(FORK.SimpleQueue), COUNT),
        Row(QUEUE, queue_of(FORK.Queue), COUNT),
        Row("iceoryx2, loan and send", iceoryx2, COUNT, (peers.ICEORYX2,)),
    ],
    goals=(Goal(OURS, PIPE, 1 / 4), Goal(OURS, QUEUE, 1 / 8)),
)
