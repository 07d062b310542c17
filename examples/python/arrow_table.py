"""An Arrow table in a segment: written once, opened by other processes with no copy.

The segment holds a file of Arrow's IPC format. `pyarrow.py_buffer(segment)` sees it through the
buffer protocol, so that the columns of the opened table lie in the shared memory themselves. It
takes pyarrow. To expect:

    a table of 1000000 rows takes 16000634 bytes of the segment
    a worker opened it: 1000000 rows, the prices add up to 499999500000
    its column lies in the segment: True
"""

import multiprocessing
import os

import numpy as np

import strata

try:
    import pyarrow as pa
    import pyarrow.compute
except ImportError as missing:
    raise SystemExit(f"{missing}: python3 -m pip install pyarrow") from missing

ROWS = 1_000_000


def store(uri, table):
    """Arrow writes into the segment, whose size a first run without memory has told."""
    counted = pa.MockOutputStream()
    with pa.ipc.new_file(counted, table.schema) as writer:
        writer.write_table(table)
    segment = strata.create(uri, size=counted.size(), publish=False)
    with pa.FixedSizeBufferWriter(pa.py_buffer(segment)) as sink:
        with pa.ipc.new_file(sink, table.schema) as writer:
            writer.write_table(table)
    segment.publish()
    return segment


def work(uri):
    segment = strata.attach(uri, "r")
    table = pa.ipc.open_file(pa.py_buffer(segment)).read_all()
    price = table["price"]
    total = pa.compute.sum(price).as_py()
    print(f"a worker opened it: {table.num_rows} rows, the prices add up to {total}")
    begin = np.asarray(segment).ctypes.data
    address = price.chunk(0).buffers()[1].address
    print(f"its column lies in the segment: {begin <= address < begin + segment.nbytes}")


def main():
    uri = f"shm:example-arrow-{os.getpid()}"
    prices = np.arange(ROWS)
    segment = store(uri, pa.table({"price": prices, "weight": prices * 0.5}))
    print(f"a table of {ROWS} rows takes {segment.nbytes} bytes of the segment", flush=True)
    worker = multiprocessing.get_context("spawn").Process(target=work, args=(uri,))
    worker.start()
    worker.join()
    strata.remove(uri, force=True)


if __name__ == "__main__":
    main()
