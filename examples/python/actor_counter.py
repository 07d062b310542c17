"""A counter as an actor of Ray, and a counter in shared memory beside it.

An actor is a process that others send calls to: each increment is a message and its answer. A
strata.Counter lets the workers of one machine count themselves. Without Ray, that half says so; an
actor also serves other machines, which shared memory does not. To expect:

    Ray's actor:     2000 counted, 503.32 us an increment
    shared memory:   2000 counted, 0.40 us an increment
"""

import multiprocessing
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


def count(counter):
    for _ in range(INCREMENTS):
        counter.add(1)


def by_shared_memory():
    counter = strata.Counter()
    with multiprocessing.Pool(WORKERS) as pool:
        pool.map(count, [counter] * WORKERS)  # the workers have started by now
        counter.set(0)
        began = time.perf_counter()
        pool.map(count, [counter] * WORKERS)
        report("shared memory: ", counter.value, began)


def main():
    if ray is None:
        print("Ray's actor:     not measured, Ray is not installed")
    else:
        by_actor()
    by_shared_memory()


if __name__ == "__main__":
    main()
