"""A data loader whose workers share one decoded data set, instead of one copy each.

A data set of Python objects is copied page by page into each worker, by its reference counts. Here
the images are decoded once, into a segment; the data set that the workers get holds the array, and
is sent as a handle. It runs with torch.utils.data.DataLoader where PyTorch is installed, else with
a loop of processes that stands in for it, and says so. To expect:

    a data set of 12288000 bytes is sent in 347 bytes
    torch.utils.data.DataLoader: 2 workers gave 16 batches of 1000 images, mean 124.72
"""

import multiprocessing
import os
import pickle

import numpy as np

import strata

IMAGES, SIDE, BATCH, WORKERS = 1000, 64, 64, 2

try:
    from torch.utils.data import DataLoader, Dataset
except ImportError:
    Dataset = object


class Images(Dataset):
    """Images that lie in a segment, and their labels."""

    def __init__(self, pixels):
        self.pixels = pixels

    def __len__(self):
        return len(self.pixels)

    def __getitem__(self, index):
        # A copy of one image. Writable: PyTorch would write through memory that may only be read.
        return np.array(self.pixels[index], dtype=np.float32), index % 10


def decode(uri):
    """Stands for reading and decoding files: done once, in one process."""
    pixels = strata.create(uri, (IMAGES, 3, SIDE, SIDE), "uint8", lifetime="last_detach").array()
    for number, image in enumerate(pixels):
        image[:] = number % 256
    return pixels


def batch_of(images, indices):
    return np.stack([images[index][0] for index in indices])


def stand_in(images):
    order = [range(at, min(at + BATCH, IMAGES)) for at in range(0, IMAGES, BATCH)]
    with multiprocessing.get_context("spawn").Pool(WORKERS) as pool:
        yield from pool.starmap(batch_of, [(images, indices) for indices in order])


def main():
    images = Images(decode(f"shm:example-loader-{os.getpid()}"))
    sent = len(pickle.dumps(images))
    print(f"a data set of {images.pixels.nbytes} bytes is sent in {sent} bytes")
    if Dataset is object:
        name, loader = "a stand-in for PyTorch, which is not installed", stand_in(images)
    else:
        name = "torch.utils.data.DataLoader"
        loader = DataLoader(images, BATCH, num_workers=WORKERS, multiprocessing_context="spawn")
        loader = (pixels for pixels, _ in loader)
    means = [(len(batch), float(batch.mean())) for batch in loader]
    count = sum(length for length, _ in means)
    mean = sum(length * mean for length, mean in means) / count
    print(f"{name}: {WORKERS} workers gave {len(means)} batches of {count} images, mean {mean:.2f}")


if __name__ == "__main__":
    main()
