"""Workers are killed with a lock and with half a message: nobody hangs, nothing is lost.

Four of eight workers die by SIGKILL half way, two between two writes that belong together, two
with half a message in a slot of the queue. The next one that takes the lock is told by
`lock.recovered` that its holder has died, and repairs what it guards. A half-filled slot comes back
to the queue and is no message; each message that was published is received. To expect:

    4 workers finished and 4 were killed: 2 with the lock, 2 in a slot
    the lock was recovered 2 times, and both numbers are 3004
    3000 of 3000 messages came, each writer's in its order
"""

import multiprocessing
import os
import signal
import struct

import strata

ROUNDS = 500
DEATHS = [None, None, None, None, "lock", "lock", "slot", "slot"]
MESSAGE = struct.Struct("<qq")
PATIENCE_S = 60


def whole_again(lock, numbers):
    """What a holder that died left half changed; the caller holds the lock."""
    if lock.recovered:
        numbers[1] = numbers[0]
        numbers[2] += 1
        lock.repaired()


def work(worker, lock, numbers, queue):
    for number in range(ROUNDS):
        death = DEATHS[worker] if number == ROUNDS // 2 else None
        with lock:
            whole_again(lock, numbers)
            numbers[0] += 1
            if death == "lock":
                os.kill(os.getpid(), signal.SIGKILL)
            numbers[1] += 1
        with queue.loan() as slot:
            MESSAGE.pack_into(slot.view, 0, worker, number)
            if death == "slot":
                os.kill(os.getpid(), signal.SIGKILL)
            slot.nbytes = MESSAGE.size


def receive(queue, count):
    """The next message of each worker must be the one after the last that came."""
    following = [0] * len(DEATHS)
    for _ in range(count):
        worker, number = MESSAGE.unpack(queue.get(timeout=PATIENCE_S))
        assert number == following[worker], f"worker {worker}: {number} came"
        following[worker] += 1
    assert queue.empty()


def main():
    spawn = multiprocessing.get_context("spawn")
    uri = f"shm:example-crash-{os.getpid()}"
    numbers = strata.create(uri, (3,), "int64", lifetime="last_detach").array()
    lock, queue = strata.Lock(), strata.Queue(slots=16, slot_bytes=64)
    workers = [
        spawn.Process(target=work, args=(worker, lock, numbers, queue))
        for worker in range(len(DEATHS))
    ]
    for worker in workers:
        worker.start()
    expected = sum(ROUNDS if death is None else ROUNDS // 2 for death in DEATHS)
    receive(queue, expected)
    for worker in workers:
        worker.join()
    killed = [worker.exitcode for worker in workers].count(-signal.SIGKILL)
    finished = [worker.exitcode for worker in workers].count(0)
    with lock:
        whole_again(lock, numbers)
    print(
        f"{finished} workers finished and {killed} were killed: "
        f"{DEATHS.count('lock')} with the lock, {DEATHS.count('slot')} in a slot"
    )
    assert numbers[0] == numbers[1]
    print(f"the lock was recovered {numbers[2]} times, and both numbers are {numbers[0]}")
    print(f"{expected} of {expected} messages came, each writer's in its order")


if __name__ == "__main__":
    main()
