"""A-B-A: a compare-and-exchange that succeeds although everything has changed meanwhile.

Free slots are a stack without a lock: `head` is the first free one, `below[slot]` the next. Who
takes a slot reads both and moves the head on if it is still the same. It may be the same again:
here another process takes 1 and 2 meanwhile, and gives 1 back. The head is then moved to 2, which
is in use. With a version beside the slot in the head's 64 bits, which grows by each change, the
exchange fails and is tried again. To expect:

    without versions: the slots 1 2 2 are in use, one of them twice
    with versions: the slots 1 2 3 are in use
"""

import multiprocessing
import os

import strata

SLOT_BITS = 16
PATIENCE_S = 60


class FreeSlots:
    """The slots 1, 2, 3 of something; 0 is none."""

    def __init__(self, name, has_versions):
        self.step = 1 << SLOT_BITS if has_versions else 0
        self.head = strata.Counter(value=1)
        self.below = strata.create(name, (4,), "int64", lifetime="last_detach").array()
        self.below[:] = 0, 2, 3, 0

    def exchange(self, seen, slot):
        version = seen >> SLOT_BITS << SLOT_BITS
        return self.head.compare_exchange(seen, version + self.step + slot)

    def take(self, meanwhile=None):
        while True:
            seen = self.head.value
            slot = seen % (1 << SLOT_BITS)
            below = int(self.below[slot])
            if meanwhile:
                meanwhile()
                meanwhile = None
            if self.exchange(seen, below):
                return slot

    def give_back(self, slot):
        while True:
            seen = self.head.value
            self.below[slot] = seen % (1 << SLOT_BITS)
            if self.exchange(seen, slot):
                return


def work(slots, has_read, go_on, taken):
    def pause():
        has_read.set()
        assert go_on.wait(PATIENCE_S)

    taken.add(slots.take(meanwhile=pause))


def main():
    spawn = multiprocessing.get_context("spawn")
    for has_versions in False, True:
        slots = FreeSlots(f"shm:example-aba-{os.getpid()}-{has_versions}", has_versions)
        has_read, go_on, taken = strata.Event(), strata.Event(), strata.Counter()
        worker = spawn.Process(target=work, args=(slots, has_read, go_on, taken))
        worker.start()
        assert has_read.wait(PATIENCE_S)
        first, second = slots.take(), slots.take()
        slots.give_back(first)
        go_on.set()
        worker.join()
        in_use = sorted([taken.value, second, slots.take()])
        title = "with versions" if has_versions else "without versions"
        twice = ", one of them twice" if len(set(in_use)) < len(in_use) else ""
        print(f"{title}: the slots {' '.join(map(str, in_use))} are in use{twice}")


if __name__ == "__main__":
    main()
