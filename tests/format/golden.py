"""The golden files of this folder, and what is in them.

Pools, segments and backups are mostly zeros, so that the tree has them compressed. A segment is put
into /dev/shm under a name of its own, which stands in its header as well: that and the checksum
behind it are all that is changed of it.
"""

import contextlib
import gzip
import os
import struct

from tests.e2e.command import new_name, strata

FOLDER = "tests/format"
IDENTITY_BYTES = 1024
NAME, NAME_BYTES = 152, 256
FEATURES = {"ignorable": 16, "required": 24, "read_only": 32}


def text(title, size):
    lines = "".join(f"{title}, line {number}\n" for number in range(100)).encode()
    return (lines * (size // len(lines) + 1))[:size]


# What pool_v1.pool holds beside two heaps, "closed" and "unfinished" (golden_heap.h): "model" as
# four versions, "weights", sealed, and "notes", plain bytes with room to grow.
MODEL = {version: text(f"model {version}", 70_000 + version) for version in (1, 2, 3, 4)}
# The version 5 whose import died in pool_mid_change_v1.pool and pool_after_change_v1.pool.
NEXT = text("model 5", 70_005)
WEIGHTS = text("weights", 50_000)
NOTES = text("notes", 5_000)
NOTES_ROOM = 65_536
SLOTS = 16


def is_mid_change(pool):
    """Whether a change of the directory has begun and not ended, and whether the directory now
    contradicts itself, as it may within a transaction."""
    (root,) = struct.unpack_from("<Q", pool, 6144)
    directory = pool[root : root + 384]
    (sequence,) = struct.unpack_from("<Q", directory, 128)
    (index_crc,) = struct.unpack_from("<I", directory, 204)
    return sequence % 2 == 1, index_crc != crc32c(directory[256:384])


def segment_text(size):
    """As golden_text.h."""
    lines = "".join(f"line {number}\n" for number in range(size))
    return lines.encode()[:size]


def _make_crc_table():
    table = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
        table.append(value)
    return table


_CRC_TABLE = _make_crc_table()


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc = crc >> 8 ^ _CRC_TABLE[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFFFFFF


def unpack(name, to):
    with gzip.open(os.path.join(FOLDER, name + ".gz")) as packed, open(to, "wb") as file:
        file.write(packed.read())
    return to


def sign(page):
    """`page` with the checksum of its identity made right."""
    covered = bytes(page[: IDENTITY_BYTES - 4])
    return covered + struct.pack("<I", crc32c(covered)) + bytes(page[IDENTITY_BYTES:])


def with_features(page, **masks):
    """`page` with these feature masks: ignorable, required, read_only."""
    page = bytearray(page)
    for mask, bits in masks.items():
        struct.pack_into("<Q", page, FEATURES[mask], bits)
    return sign(page)


def shm_path(uri):
    return "/dev/shm/strata." + uri.removeprefix("shm:")


@contextlib.contextmanager
def placed(name):
    """The golden segment as a shared one with a new name; gone afterwards."""
    uri = "shm:" + new_name()
    with gzip.open(os.path.join(FOLDER, name + ".gz")) as packed:
        page = bytearray(packed.read())
    struct.pack_into(f"{NAME_BYTES}s", page, NAME, uri.removeprefix("shm:").encode())
    with open(os.open(shm_path(uri), os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as file:
        file.write(sign(page))
    try:
        yield uri
    finally:
        strata("rm", "--force", uri)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(shm_path(uri))
