"""Four processes count: by a pipe each, by Redis, and by shared memory.

A pipe carries each increment to a process that counts; Redis is such a process at the end of a
socket. In shared memory the workers count themselves. The server of Redis is started for the
example, on the loopback interface; where `redis-server` or python3-redis is missing, its line says
so. The figures are of this machine, the start of the workers included. To expect:

    pipe:                      20000 counted,   5.90 us an increment
    Redis:                     20000 counted,  52.10 us an increment
    shared memory, one lock:   20000 counted,   0.60 us an increment
    shared memory, own slots:  20000 counted,   0.36 us an increment
"""

import importlib.util
import os
import shutil
import socket
import subprocess
import time
from multiprocessing import Pipe, Process, connection

import strata

WORKERS = 4
INCREMENTS = 5_000  # by each


def send(pipe):
    for _ in range(INCREMENTS):
        pipe.send(1)


def receive(pipes):
    total = 0
    while total < WORKERS * INCREMENTS:
        total += sum(pipe.recv() for pipe in connection.wait(pipes))
    return total


def client_of(port):
    from redis import Redis, backoff, exceptions, retry

    patience = retry.Retry(backoff.ConstantBackoff(0.05), 600)  # the server may be starting yet
    return Redis(port=port, retry=patience, retry_on_error=[exceptions.ConnectionError])


def count_in_redis(port):
    client = client_of(port)
    for _ in range(INCREMENTS):
        client.incr("total")


def count_with_lock(total, lock):
    for _ in range(INCREMENTS):
        with lock:
            total[0] += 1


def count_alone(total):
    for _ in range(INCREMENTS):
        total[0] += 1


def measure(title, work, arguments, total):
    """Runs work(*arguments[i]) in worker i, and total() meanwhile or after them."""
    began = time.perf_counter()
    workers = [Process(target=work, args=each) for each in arguments]
    for worker in workers:
        worker.start()
    meanwhile = total() if work is send else None
    for worker in workers:
        worker.join()
    each = (time.perf_counter() - began) / (WORKERS * INCREMENTS) * 1e6
    counted = total() if meanwhile is None else meanwhile
    print(f"{title + ':':26} {counted} counted, {each:6.2f} us an increment")


def by_redis():
    if shutil.which("redis-server") is None or importlib.util.find_spec("redis") is None:
        print("Redis: not measured, it takes redis-server and python3-redis")
        return
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = ["redis-server", "--bind", "127.0.0.1", "--port", str(port), "--save", ""]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        client = client_of(port)
        client.set("total", 0)
        measure("Redis", count_in_redis, [(port,)] * WORKERS, lambda: int(client.get("total")))
    finally:
        server.kill()
        server.wait()


def main():
    pipes = [Pipe(duplex=False) for _ in range(WORKERS)]
    readers = [reader for reader, _ in pipes]
    measure("pipe", send, [(writer,) for _, writer in pipes], lambda: receive(readers))
    by_redis()
    name = f"shm:example-pipe-{os.getpid()}"
    slots = strata.create(name, (WORKERS, 8), "int64", lifetime="last_detach").array()
    together = [(slots[0], strata.Lock())] * WORKERS
    measure("shared memory, one lock", count_with_lock, together, slots.sum)
    slots[:] = 0
    alone = [(slot,) for slot in slots]  # 64 bytes each: a cache line of their own
    measure("shared memory, own slots", count_alone, alone, slots.sum)


if __name__ == "__main__":
    main()
