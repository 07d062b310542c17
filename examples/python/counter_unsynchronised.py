"""Four workers count up one shared number, and nothing keeps them apart: increments are lost.

To increase a number is to read it, to add one and to write it. Where two workers have read the
same value, one of their increments is lost. Threads of one process lose them as processes do: the
interpreter's lock guards the interpreter, not the number. Each of the two is tried again until an
increment was lost, as it may take a while on a machine with one processor. To expect:

    4 threads counted 23218 instead of 80000: 56782 increments are lost
    4 processes counted 25144 instead of 80000: 54856 increments are lost
"""

import multiprocessing
import os
import sys
import threading
import time

import strata

WORKERS = 4
INCREMENTS = 20_000
PATIENCE_S = 120


def one_more(number):
    return number + 1


def work(total, start):
    start.wait()
    for _ in range(INCREMENTS):
        seen = total[0]
        total[0] = one_more(seen)  # meanwhile another worker may have written


def count(total, worker_class, start):
    total[0] = 0
    workers = [worker_class(target=work, args=(total, start)) for _ in range(WORKERS)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return int(total[0])


def count_until_some_are_lost(kind, total, worker_class, start):
    expected = WORKERS * INCREMENTS
    end = time.monotonic() + PATIENCE_S
    counted = expected
    while counted == expected and time.monotonic() < end:
        counted = count(total, worker_class, start)
    print(
        f"{WORKERS} {kind} counted {counted} instead of {expected}: "
        f"{expected - counted} increments are lost"
    )


def main():
    uri = f"shm:example-unsynchronised-{os.getpid()}"
    total = strata.create(uri, (1,), "int64", lifetime="last_detach").array()
    sys.setswitchinterval(1e-6)  # a thread's turn, in seconds: many switches in a short example
    count_until_some_are_lost("threads", total, threading.Thread, threading.Barrier(WORKERS))
    start = multiprocessing.Barrier(WORKERS)
    count_until_some_are_lost("processes", total, multiprocessing.Process, start)


if __name__ == "__main__":
    main()
