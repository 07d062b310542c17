"""What other people chose the bytes of (names of files and processes, headers, pools) reaches no
terminal as it is: it neither steers it nor forges a line."""

import ctypes
import fcntl
import os
import re
import signal
import struct

import pytest

from tests.e2e.command import DONE, REFUSED, new_name, ok, strata

# Steers a terminal in each of the ways there are; ends what comes before it, and forges a row.
HOSTILE = b"\x1b]0;owned\x07\x1b[2J\r\nforged\x7f\xc2\x9b1m\x9b1m\xe2\x80\xae"
WRITER_BYTE = (1 << 48) + 1
NAME_AT, JOB_AT, PLACEMENT_AT, CRC_AT = 152, 408, 536, 1020


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def assert_harmless(run):
    for text in (run.stdout, run.stderr):
        bad = [c for c in text.decode() if c != "\n" and (ord(c) < 32 or 0x7F <= ord(c) < 0xA0)]
        assert not bad and "\u202e" not in text.decode(), text
        assert not re.search(rb"^forged", text, re.MULTILINE), text
    return run


def look(*arguments):
    """In text and in JSON."""
    assert_harmless(strata(*arguments, "--json"))
    return assert_harmless(strata(*arguments))


@pytest.fixture
def segment():
    uri = "shm:" + new_name()
    ok("create", uri, "--size", "1M", "--lifetime", "job", "--job", "j")
    path = "/dev/shm/strata." + uri.removeprefix("shm:")
    yield uri, path
    os.unlink(path)


def overwrite(path, at, text):
    """The header with other bytes, and a checksum that is right."""
    with open(path, "r+b") as file:
        header = bytearray(file.read(1024))
        header[at : at + len(text)] = text
        header[CRC_AT:] = struct.pack("<I", crc32c(header[:CRC_AT]))
        file.seek(0)
        file.write(header)


def test_the_name_of_a_file(tmp_path):
    hostile = b"/dev/shm/strata." + new_name().encode() + HOSTILE
    with open(hostile, "wb") as file:
        file.write(b"x" * 5000)
    try:
        assert b"\\x1b]0;owned\\x07" in look("ls").stdout
        look("gc", "--dry-run")
        look("top", "--rounds", "1", "--interval", "0.01")
    finally:
        os.unlink(hostile)


@pytest.mark.parametrize("at", [NAME_AT, JOB_AT, PLACEMENT_AT])
def test_a_header(segment, at):
    uri, path = segment
    overwrite(path, at, HOSTILE)
    shown = [look(*command) for command in (
        ["info", uri], ["ls"], ["gc", "--dry-run"], ["check", uri], ["map", uri],
        ["seal", uri], ["grow", uri, "1M"], ["migrate", uri, "--node", "0"])]  # fmt: skip
    # What is no name is not repeated at all.
    text = b"has no valid name" if at == NAME_AT else b"owned"
    assert any(text in run.stdout + run.stderr for run in shown)


def test_the_name_of_a_process(segment):
    uri, path = segment
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        file = os.open(path, os.O_RDWR)
        fcntl.fcntl(file, 37, struct.pack("hhqqi4x", fcntl.F_RDLCK, os.SEEK_SET, WRITER_BYTE, 1, 0))
        ctypes.CDLL(None).prctl(15, HOSTILE[:15], 0, 0, 0)  # PR_SET_NAME
        os.write(writer, b"!")
        signal.pause()
    try:
        assert os.read(reader, 1) == b"!"
        run = look("rm", uri)
        assert run.returncode == REFUSED and b"\\x1b]0;owned\\x07" in run.stderr
        look("info", uri)
    finally:
        os.kill(child, 9)
        os.waitpid(child, 0)
        os.close(reader)
        os.close(writer)


def test_the_layout_of_a_pool(tmp_path):
    pool = tmp_path / "run.pool"
    ok("pool", "create", pool, "--size", "8M")
    with open(pool, "r+b") as file:
        file.seek(4096)
        file.write(HOSTILE)
    for command in ["info", "ls", "check", "repair"]:
        look("pool", command, pool)
    assert b"owned" in look("pool", "info", pool).stdout


def test_what_the_user_typed(tmp_path):
    path = os.fsencode(tmp_path) + b"/" + HOSTILE.replace(b"/", b"")
    for command in ["info", "ls", "check", "repair"]:
        run = assert_harmless(strata("pool", command, os.fsdecode(path)))
        assert run.returncode != DONE and b"owned" in run.stderr
    assert_harmless(strata("rm", os.fsdecode(b"shm:" + HOSTILE)))
    assert_harmless(strata(os.fsdecode(HOSTILE)))
