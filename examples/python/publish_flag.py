"""A flag with the right memory order: who sees that the data are there sees the data.

A reader that polls a plain `ready` number may see it before the data that were written before it:
compilers and processors may reorder plain writes, and x86 hides what ARM shows. A segment made with
publish=False has such a flag, with a release by publish() and an acquire by attach(): whoever
attaches waits, and then sees all that was written. Also where the writer is killed before it has
published: then the reader is told, and waits for no longer than it asked to. To expect:

    the reader waited for publish() and read 1000000 numbers, their sum 499999500000
    the second writer was killed: NotReadyError
"""

import multiprocessing
import os
import signal

import numpy as np

import strata

NUMBERS = 1_000_000


def write(uri, created, will_finish):
    segment = strata.create(uri, (NUMBERS,), "int64", publish=False)
    created.set()
    if not will_finish:
        os.kill(os.getpid(), signal.SIGKILL)
    segment.array()[:] = np.arange(NUMBERS)
    segment.publish()  # a release: nothing above can be seen later than this


def read(uri, timeout):
    segment = strata.attach(uri, "r", timeout=timeout)  # an acquire
    return segment.array()


def main():
    spawn = multiprocessing.get_context("spawn")
    uri = f"shm:example-flag-{os.getpid()}"
    for will_finish, timeout in (True, 60), (False, 0.1):
        created = spawn.Event()
        writer = spawn.Process(target=write, args=(uri, created, will_finish))
        writer.start()
        created.wait()
        try:
            numbers = read(uri, timeout)
            print(
                f"the reader waited for publish() and read {len(numbers)} numbers, "
                f"their sum {numbers.sum()}"
            )
        except strata.Error as error:
            print(f"the second writer was killed: {type(error).__name__}")
        writer.join()
        strata.remove(uri, force=True)


if __name__ == "__main__":
    main()
