"""A flag with the right memory order: who sees that the data are there sees the data.

A reader that polls a plain `ready` number may see it before the data that were written before it:
compilers and processors reorder plain writes, and x86 hides what ARM shows. strata.Event is a flag
with the right order: set() is a release, wait() an acquire, and the reader sleeps meanwhile. A new
segment has such a flag of its own: with publish=False whoever attaches waits for publish(). Where
its writer is killed before that, the reader is told, within the time that it gives. To expect:

    event: the reader saw 1000000 numbers, their sum 499999500000
    publish: the reader saw 1000000 numbers, their sum 499999500000
    publish: the writer was killed, NotReadyError
"""

import multiprocessing
import os
import signal

import numpy as np

import strata

NUMBERS = 1_000_000
PATIENCE_S = 60


def fill(numbers, ready):
    numbers[:] = np.arange(NUMBERS)
    ready.set()  # a release: nothing above is seen later than this


def fill_and_publish(uri, is_there, will_finish):
    segment = strata.create(uri, (NUMBERS,), "int64", publish=False, lifetime="until_removed")
    is_there.set()
    if not will_finish:
        os.kill(os.getpid(), signal.SIGKILL)
    segment.array()[:] = np.arange(NUMBERS)
    segment.publish()  # a release, too


def tell(how, numbers):
    print(f"{how}: the reader saw {len(numbers)} numbers, their sum {numbers.sum()}")


def main():
    spawn = multiprocessing.get_context("spawn")
    uri = f"shm:example-flag-{os.getpid()}"
    numbers = strata.create(f"{uri}.event", (NUMBERS,), "int64", lifetime="last_detach").array()
    ready = strata.Event()
    writer = spawn.Process(target=fill, args=(numbers, ready))
    writer.start()
    assert ready.wait(PATIENCE_S)  # an acquire
    tell("event", numbers)
    writer.join()

    for will_finish, timeout in (True, PATIENCE_S), (False, 0.1):
        is_there = strata.Event()
        writer = spawn.Process(target=fill_and_publish, args=(uri, is_there, will_finish))
        writer.start()
        assert is_there.wait(PATIENCE_S)
        try:
            tell("publish", strata.attach(uri, "r", timeout=timeout).array())
        except strata.NotReadyError as error:
            print(f"publish: the writer was killed, {type(error).__name__}")
        writer.join()
        strata.remove(uri, force=True)


if __name__ == "__main__":
    main()
