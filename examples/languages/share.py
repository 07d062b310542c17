"""The ledger of share.c, in Python with ctypes alone: it reads what the others have written, and adds
an entry under the ledger's lock.

    python3 share.py shm:ledger
"""

import ctypes
import os
import sys

TEN_SECONDS_MS = 10_000
OWNER_DIED = 1

library = ctypes.CDLL(os.environ.get("STRATA_LIBRARY", "libstrata.so"))
library.strata_error_message.restype = ctypes.c_char_p
library.strata_code_name.restype = ctypes.c_char_p


class Mutex(ctypes.Structure):
    _fields_ = [("reserved", ctypes.c_uint64 * 8)]


class Entry(ctypes.Structure):
    _fields_ = [("language", ctypes.c_char * 16), ("value", ctypes.c_int64)]


class Ledger(ctypes.Structure):
    """The same bytes as in C."""

    _fields_ = [
        ("lock", Mutex),
        ("total", ctypes.c_int64),
        ("entry_count", ctypes.c_int64),
        ("entries", Entry * 8),
    ]


class Type(ctypes.Structure):
    _fields_ = [
        ("size", ctypes.c_size_t),
        ("name", ctypes.c_char_p),
        ("bytes", ctypes.c_uint64),
        ("align_bytes", ctypes.c_uint32),
        ("reserved", ctypes.c_uint32),
        ("version", ctypes.c_uint64),
    ]


LEDGER_TYPE = Type(
    ctypes.sizeof(Type), b"example.ledger", ctypes.sizeof(Ledger), ctypes.alignment(Ledger), 0, 1
)


def must(code):
    if code != 0:
        name = library.strata_code_name(code).decode()
        raise SystemExit(f"{name}: {library.strata_error_message().decode()}")


class Handle(ctypes.c_void_p):
    """A handle of its own type is never turned into a number, as a plain c_void_p would be."""


def add_entry(ledger):
    for entry in ledger.entries[: ledger.entry_count]:
        print(f"Python reads: {entry.language.decode()} added {entry.value}")
    mine = ledger.entries[ledger.entry_count]
    mine.language = b"Python"
    mine.value = ledger.entry_count + 1
    ledger.total += mine.value
    ledger.entry_count += 1
    print(f"Python makes the total {ledger.total}")


def main():
    uri = sys.argv[1].encode()
    catalog, segment, heap, context = Handle(), Handle(), Handle(), Handle()
    found = ctypes.POINTER(Ledger)()
    how = ctypes.c_int()

    must(library.strata_catalog_open(None, ctypes.byref(catalog)))
    must(library.strata_catalog_attach(catalog, uri, None, ctypes.byref(segment)))
    must(library.strata_heap_open(segment, ctypes.byref(heap)))
    must(library.strata_heap_find(heap, b"ledger", ctypes.byref(LEDGER_TYPE), ctypes.byref(found)))
    must(library.strata_sync_context_open(segment, ctypes.byref(context)))

    lock = ctypes.byref(found.contents.lock)
    wait = ctypes.c_uint64(TEN_SECONDS_MS)
    must(library.strata_mutex_lock(context, lock, wait, ctypes.byref(how)))
    # Where the last holder died, what it changed would be repaired here.
    if how.value == OWNER_DIED:
        must(library.strata_mutex_mark_repaired(context, lock))
    add_entry(found.contents)
    must(library.strata_mutex_unlock(context, lock))

    # In any order.
    library.strata_catalog_close(catalog)
    library.strata_segment_close(segment)
    library.strata_heap_close(heap)
    library.strata_sync_context_close(context)


if __name__ == "__main__":
    main()
