"""A pool keeps arrays over a kill: what was saved is there, what was half done never happened.

A child saves a mesh and its step number together, again and again, and is killed by SIGKILL at any
moment. The pool is then opened by another process: mesh and step belong together, every time,
because a transaction is all or nothing. To expect:

    killed 5 times, and the pool was whole each time
    the last step is 31, and the mesh is that of step 31
"""

import multiprocessing
import os
import pathlib
import signal
import tempfile
import time

import numpy as np

import strata

KILLS = 5


def saved_step(pool):
    step, mesh = int(pool.load("step")[0]), pool.load("mesh")
    assert (mesh == step).all(), "half of a transaction"
    return step


def compute(path, told):
    with strata.Pool(path) as pool:
        step = saved_step(pool)
        while True:
            step += 1
            with pool.transaction() as tx:
                tx.save("mesh", np.full(1000, step))
                tx.save("step", np.array([step]))
            told.send(step)  # durable by now


def main():
    spawn = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder, "run.pool")
        with strata.Pool(path, size="64M") as pool, pool.transaction() as tx:
            tx.save("mesh", np.full(1000, 0))
            tx.save("step", np.array([0]))
        for kill in range(KILLS):
            heard, told = spawn.Pipe(duplex=False)
            child = spawn.Process(target=compute, args=(path, told))
            child.start()
            told.close()
            last = heard.recv()
            time.sleep(kill * 0.003)  # at another moment each time
            os.kill(child.pid, signal.SIGKILL)
            child.join()
            try:
                while True:  # what it had told before it died
                    last = heard.recv()
            except EOFError:
                pass
            assert saved_step(strata.Pool(path)) >= last, "what was durable is lost"
        pool = strata.Pool(path)
        print(f"killed {KILLS} times, and the pool was whole each time")
        step, mesh = saved_step(pool), pool.load("mesh")
        print(f"the last step is {step}, and the mesh is that of step {mesh[0]}")


if __name__ == "__main__":
    main()
