"""A process tree whose members are killed at random while they create, attach, close and unlink.

    shared_memory_kills.py METHOD SEED ROUNDS PREFIX

Prints what it saw; exits with 1 where a block that this process had attached lost its name or its
bytes. What is left afterwards is for the caller to see.
"""

import hashlib
import os
import random
import signal
import sys
from multiprocessing import connection, get_context

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
from strata import _blocks
from strata.shared_memory import ShareableList, SharedMemory, sweep

SIZE = 4096


def content_of(name):
    return hashlib.sha256(name.encode()).digest() * (SIZE // 32)


def create(report, prefix, seed):
    """Every third block is unlinked again, every other third closed, the rest kept open."""
    kept = []
    for number in range(300):
        name = f"{prefix}-{seed}-{number}"
        block = SharedMemory(name, create=True, size=SIZE)
        block.buf[:] = content_of(name)
        if number % 3 == 0:
            block.close()
            block.unlink()
        elif number % 3 == 1:
            block.close()
            report.send(name)
        else:
            kept.append(block)
            report.send(name)
        if number % 10 == 9:
            kept.append(ShareableList(["x\0", number], name=f"{prefix}-{seed}-list-{number}"))
    signal.pause()


def attach(report, names):
    while True:
        for name in names:
            try:
                block = SharedMemory(name)
            except FileNotFoundError:
                continue  # its creator was killed before anybody else had it
            good = bytes(block.buf) == content_of(name)
            block.close()
            report.send(name if good else "wrong bytes in " + name)


def start(context, target, *arguments):
    here, there = context.Pipe(duplex=False)
    worker = context.Process(target=target, args=(there, *arguments), daemon=True)
    worker.start()
    there.close()
    return worker, here


def read(here):
    """What a worker has to say; None once it is dead, be it in the middle of a word."""
    try:
        return here.recv()
    except (EOFError, OSError):
        return None


class Tree:
    def __init__(self, method, seed, prefix):
        self.context, self.prefix = get_context(method), prefix
        self.random = random.Random(seed)
        self.held = {}  # name -> the block, and its inode
        self.workers = []
        self.kills = self.missed = 0

    def hold(self, name):
        try:
            block = SharedMemory(name)
        except FileNotFoundError:
            self.missed += 1
            return
        self.held[name] = block, os.fstat(block._fd).st_ino

    def check_held(self):
        for name, (block, inode) in self.held.items():
            assert bytes(block.buf) == content_of(name), name
            assert os.stat(f"/dev/shm/{name}").st_ino == inode, name

    def round(self, number):
        for index in range(2):
            self.workers.append(start(self.context, create, self.prefix, f"{number}.{index}"))
        self.workers.append(start(self.context, attach, list(self.held)))
        for _ in range(self.random.randrange(5, 60)):
            for here in connection.wait([here for _, here in self.workers]):
                name = read(here)
                assert name is None or not name.startswith("wrong"), name
                if name is not None and name not in self.held and self.random.random() < 0.2:
                    self.hold(name)
        while len(self.workers) > 3:
            worker, here = self.workers.pop(self.random.randrange(len(self.workers)))
            for _ in range(self.random.randrange(3_000)):
                pass
            os.kill(worker.pid, signal.SIGKILL)
            worker.join()
            here.close()
            self.kills += 1
        if self.random.random() < 0.3:
            sweep()
        self.check_held()
        for name in self.random.sample(sorted(self.held), len(self.held) // 2):
            self.held.pop(name)[0].close()


def main(method, seed, rounds, prefix):
    tree = Tree(method, int(seed), prefix)
    for number in range(int(rounds)):
        tree.round(number)
    for worker, _ in tree.workers:
        os.kill(worker.pid, signal.SIGKILL)
        worker.join()
        tree.kills += 1
    tree.check_held()
    print(f"verified: {tree.kills} workers killed")
    print(f"{len(tree.held)} blocks held, {tree.missed} gone with their creators")
    print("tree", _blocks.tree(), flush=True)
    if tree.random.random() < 0.5:
        os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    main(*sys.argv[1:])
