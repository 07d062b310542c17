"""Three big lists, read by eight workers under fork, forkserver and spawn: one copy of the data.

A Python list of a million numbers is a million objects. Reading them changes their reference
counts, so that after fork each worker soon has a copy of its own; under spawn it gets one by
pickle. strata.freeze() puts a list into shared memory once, and what a worker gets is a handle. The
figures are the private memory of the workers (PSS: pages that several share count in parts), less
that of workers that read nothing. To expect:

    plain lists, fork: 8 workers read 3000000 items, 456.9 MB for 16.1 MB of data
    frozen lists, fork: 8 workers read 3000000 items, 22.4 MB for 16.1 MB of data
    frozen lists, forkserver: 8 workers read 3000000 items, 23.4 MB for 16.1 MB of data
    frozen lists, spawn: 8 workers read 3000000 items, 23.3 MB for 16.1 MB of data
"""

import multiprocessing

import strata

WORKERS = 8
ITEMS = 1_000_000
DATA_BYTES = ITEMS // 8 + 2 * 8 * ITEMS


def pss_bytes():
    with open("/proc/self/smaps_rollup") as lines:
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))


def work(lists, everybody, results):
    read = sum(len(part) for part in lists if sum(part) > 0)
    everybody.wait()  # all have read, and nobody has ended
    results.send((read, pss_bytes()))
    everybody.wait()


def run(method, lists):
    """How many items each worker has read, and the PSS of all of them."""
    context = multiprocessing.get_context(method)
    everybody = context.Barrier(WORKERS)
    pipes = [context.Pipe(duplex=False) for _ in range(WORKERS)]
    workers = [
        context.Process(target=work, args=(lists, everybody, writer)) for _, writer in pipes
    ]
    for worker in workers:
        worker.start()
    found = [reader.recv() for reader, _ in pipes]
    for worker in workers:
        worker.join()
    return found[0][0], sum(pss for _, pss in found)


def report(kind, method, lists):
    _, alone = run(method, [])
    read, pss = run(method, lists)
    print(
        f"{kind} lists, {method}: {WORKERS} workers read {read} items, "
        f"{(pss - alone) / 1e6:.1f} MB for {DATA_BYTES / 1e6:.1f} MB of data"
    )


def main():
    plain = [
        [number % 3 == 0 for number in range(ITEMS)],
        list(range(1000, ITEMS + 1000)),
        list(range(10**9, 10**9 + ITEMS)),
    ]
    frozen = [strata.freeze(part) for part in plain]
    report("plain", "fork", plain)
    plain.clear()
    for method in "fork", "forkserver", "spawn":
        report("frozen", method, frozen)


if __name__ == "__main__":
    main()
