"""A counter as an actor of Ray, and a counter in shared memory beside it.

An actor is a process that others send calls to: each increment is a message and its answer. Shared
memory lets the workers of one machine count themselves, under a lock. Without Ray, that half says
so; an actor also serves other machines, which shared memory does not. To expect:

    Ray's actor:     2000 counted, 838.34 us an increment
    shared memory:   2000 counted, 0.79 us an increment
"""

import multiprocessing
import os
import time

import strata

try:
    import ray
except ImportError:
    ray = None

WORKERS = 4
INCREMENTS = 500


def report(title, counted, began):
    each = (time.perf_counter() - began) / (WORKERS * INCREMENTS) * 1e6
    print(f"{title}  {counted} counted, {each:.2f} us an increment")


def by_actor():
    @ray.remote
    class Counter:
        def __init__(self):
            self.total = 0

        def increase(self):
            self.total += 1
            return self.total

    @ray.remote
    def work(counter):
        for _ in range(INCREMENTS):
            ray.get(counter.increase.remote())

    ray.init(num_cpus=WORKERS + 1, include_dashboard=False, log_to_driver=False)
    counter = Counter.remote()
    ray.get([work.remote(counter) for _ in range(WORKERS)])  # Ray's workers have started by now
    before = ray.get(counter.increase.remote())
    began = time.perf_counter()
    ray.get([work.remote(counter) for _ in range(WORKERS)])
    report("Ray's actor:   ", ray.get(counter.increase.remote()) - before - 1, began)
    ray.shutdown()


def count(total, lock):
    for _ in range(INCREMENTS):
        with lock:
            total[0] += 1


def by_shared_memory():
    uri = f"shm:example-actor-{os.getpid()}"
    total = strata.create(uri, (1,), "int64", lifetime="last_detach").array()
    lock = strata.Lock()
    with multiprocessing.Pool(WORKERS) as pool:
        pool.starmap(count, [(total, lock)] * WORKERS)  # the workers have started by now
        total[0] = 0
        began = time.perf_counter()
        pool.starmap(count, [(total, lock)] * WORKERS)
        report("shared memory: ", int(total[0]), began)


def main():
    if ray is None:
        print("Ray's actor:     not measured, Ray is not installed")
    else:
        by_actor()
    by_shared_memory()


if __name__ == "__main__":
    main()
