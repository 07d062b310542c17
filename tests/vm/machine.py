"""One emulated machine: real NUMA nodes, real memory attributes, real NVDIMMs, in software.

Software emulation (TCG) always: /dev/kvm opens on machines where it does not work. It says
nothing about speed, and everything about where a page lies and what survives a lost supply.
"""

import ctypes
import dataclasses
import json
import os
import pathlib
import re
import selectors
import signal
import socket
import subprocess
import time

from tests.vm import guest

QMP_TIMEOUT_S = 120
LOG_LINES_IN_ERROR = 120


class MachineError(Exception):
    """The guest did not do what it should; the text holds the end of both consoles."""


@dataclasses.dataclass(frozen=True)
class Node:
    """One NUMA node. No CPUs makes a memory tier; no memory makes a place for hot-added memory."""
    cpu_count: int
    memory_mib: int
    latency_ns: int
    bandwidth_mib_per_s: int


@dataclasses.dataclass(frozen=True)
class Nvdimm:
    """A persistent memory module backed by a file of the host, which outlives the machine."""
    path: pathlib.Path
    size_mib: int
    node: int = 0


@dataclasses.dataclass(frozen=True)
class Board:
    """The hardware: nodes, the distance matrix (row by row), NVDIMMs and devices."""
    nodes: tuple
    distances: tuple = ()
    nvdimms: tuple = ()
    devices: tuple = ()


def _numa_arguments(board):
    arguments, first_cpu = [], 0
    for index, node in enumerate(board.nodes):
        numa = "node,nodeid=%d" % index
        if node.memory_mib:
            arguments += ["-object", "memory-backend-ram,id=m%d,size=%dM" % (
                index, node.memory_mib)]
            numa += ",memdev=m%d" % index
        if node.cpu_count:
            numa += ",cpus=%d-%d" % (first_cpu, first_cpu + node.cpu_count - 1)
            first_cpu += node.cpu_count
        # An initiator is the node whose CPUs reach this memory best.
        initiator = index if node.cpu_count else 0
        arguments += ["-numa", "%s,initiator=%d" % (numa, initiator)]
    for source, row in enumerate(board.distances):
        for target, distance in enumerate(row):
            if source != target:
                arguments += ["-numa", "dist,src=%d,dst=%d,val=%d" % (source, target, distance)]
    for target, node in enumerate(board.nodes):
        if not node.memory_mib:
            continue
        for source, other in enumerate(board.nodes):
            if not other.cpu_count:
                continue
            # What is far costs more, in proportion to the distance.
            factor = board.distances[source][target] / 10 if board.nodes[target].cpu_count else 1
            common = "hmat-lb,initiator=%d,target=%d,hierarchy=memory,data-type=" % (
                source, target)
            arguments += [
                "-numa", common + "access-latency,latency=%d" % (node.latency_ns * factor),
                "-numa", common + "access-bandwidth,bandwidth=%dM" % (
                    node.bandwidth_mib_per_s / factor)]
    return arguments


def _nvdimm_arguments(board):
    arguments = []
    for index, nvdimm in enumerate(board.nvdimms):
        arguments += [
            "-object", "memory-backend-file,id=nv%d,share=on,mem-path=%s,size=%dM" % (
                index, nvdimm.path, nvdimm.size_mib),
            "-device", "nvdimm,id=nvdimm%d,memdev=nv%d,node=%d" % (index, index, nvdimm.node)]
    return arguments


def arguments_for(board, kernel_image, initramfs, append):
    """The emulator's command line, without serial ports."""
    memory_mib = sum(node.memory_mib for node in board.nodes)
    cpu_count = sum(node.cpu_count for node in board.nodes)
    features = ["q35"]
    if board.nvdimms:
        # mem-ctrl: flushed lines are safe, the CPU's caches are not. With `cpu` PMDK would see
        # eADR and leave every flush out, and the suites would prove nothing.
        features += ["nvdimm=on", "nvdimm-persistence=mem-ctrl"]
    if len(board.nodes) > 1:
        features += ["hmat=on"]
    maximum_mib = memory_mib + sum(nvdimm.size_mib for nvdimm in board.nvdimms) + 1024
    return [
        guest.require_emulator(), "-nodefaults", "-no-user-config", "-display", "none",
        "-no-reboot", "-accel", "tcg,thread=multi", "-cpu", "max",
        "-machine", ",".join(features), "-smp", "{0},sockets={0}".format(cpu_count),
        "-m", "%dM,slots=%d,maxmem=%dM" % (memory_mib, len(board.nvdimms) + 2, maximum_mib),
        *(_numa_arguments(board) if len(board.nodes) > 1 else ()),
        *_nvdimm_arguments(board), *board.devices,
        "-kernel", str(kernel_image), "-initrd", str(initramfs),
        "-append", "console=ttyS0 panic=-1 loglevel=5 mitigations=off %s" % append,
    ]


def _die_with_parent():
    """A killed test must not leave an emulator behind. 1 is PR_SET_PDEATHSIG."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)


class Machine:
    """A running emulator. Lines of the guest come out of `read_line`; `kill` is the power failure.

    work_dir takes the kernel's log and the control socket; its path must be short enough for a
    unix socket.
    """

    def __init__(self, arguments, work_dir, restore_from=None):
        self.work_dir = pathlib.Path(work_dir)
        self.started_s = time.monotonic()
        self.lines = []
        self._rest = b""
        self._kernel_log = self.work_dir / "kernel.log"
        self._qmp_path = self.work_dir / "qmp"
        self._qmp_path.unlink(missing_ok=True)
        command = arguments + [
            "-serial", "file:%s" % self._kernel_log, "-serial", "stdio",
            "-qmp", "unix:%s,server=on,wait=off" % self._qmp_path]
        if restore_from:
            command += ["-incoming", "defer"]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            preexec_fn=_die_with_parent)
        os.set_blocking(self._process.stdout.fileno(), False)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._process.stdout, selectors.EVENT_READ)
        self._qmp_file = None
        if restore_from:
            self._restore(restore_from)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.kill()

    def elapsed_s(self):
        return time.monotonic() - self.started_s

    def _take_line(self):
        line, found, rest = self._rest.partition(b"\n")
        if not found:
            return None
        self._rest = rest
        text = line.decode(errors="replace").strip("\r")
        self.lines.append(text)
        return text

    def read_line(self, deadline_s):
        """The guest's next line; None at the deadline or at the end of the machine."""
        while True:
            text = self._take_line()
            if text is not None:
                return text
            left_s = deadline_s - time.monotonic()
            if left_s <= 0 or not self._selector.select(left_s):
                return None
            data = os.read(self._process.stdout.fileno(), 65536)
            if not data:
                return None
            self._rest += data

    def rest_of_lines(self):
        """All lines that a dead machine had sent before it died. A torn last line is dropped."""
        while True:
            try:
                data = os.read(self._process.stdout.fileno(), 65536)
            except BlockingIOError:
                break
            if not data:
                break
            self._rest += data
        taken = []
        while (text := self._take_line()) is not None:
            taken.append(text)
        return taken

    def wait_for(self, pattern, timeout_s):
        """Reads until a line matches; returns the match. Raises MachineError otherwise."""
        deadline_s = time.monotonic() + timeout_s
        while (line := self.read_line(deadline_s)) is not None:
            found = re.match(pattern, line)
            if found:
                return found
        raise self.error("no line %r within %d s" % (pattern, timeout_s))

    def send(self, line):
        self._process.stdin.write(line.encode() + b"\n")
        self._process.stdin.flush()

    def error(self, what):
        try:
            kernel_lines = self._kernel_log.read_text(errors="replace").splitlines()
        except OSError:
            kernel_lines = []
        return MachineError("\n".join(
            [what + " (machine up for %.1f s); its last lines:" % self.elapsed_s()]
            + self.lines[-LOG_LINES_IN_ERROR:] + [self._rest.decode(errors="replace")]
            + ["the kernel's last lines:"] + kernel_lines[-LOG_LINES_IN_ERROR:]))

    def running(self):
        return self._process.poll() is None

    def kill(self):
        """The power failure: nothing in the guest gets a chance to finish."""
        self._process.kill()
        self._process.wait()

    def wait_for_power_off(self, timeout_s):
        try:
            self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise self.error("the machine did not switch itself off") from None

    # Control protocol: https://www.qemu.org/docs/master/interop/qemu-qmp-ref.html

    def _qmp(self, command, **arguments):
        if self._qmp_file is None:
            self._connect()
        self._qmp_file.write(json.dumps({"execute": command, "arguments": arguments}) + "\n")
        self._qmp_file.flush()
        while True:
            answer = json.loads(self._qmp_file.readline() or '{"error": "connection lost"}')
            if "error" in answer:
                raise self.error("%s: %s" % (command, answer["error"]))
            if "return" in answer:
                return answer["return"]

    def _connect(self):
        deadline_s = time.monotonic() + QMP_TIMEOUT_S
        channel = socket.socket(socket.AF_UNIX)
        channel.settimeout(QMP_TIMEOUT_S)
        while True:
            try:
                channel.connect(str(self._qmp_path))
                break
            except OSError:
                if time.monotonic() > deadline_s or not self.running():
                    raise self.error("no control socket") from None
                time.sleep(0.01)
        self._qmp_file = channel.makefile("rw")
        self._qmp_file.readline()  # the greeting
        self._qmp("qmp_capabilities")
        # The NVDIMM stays in its file; only the rest of the machine goes into a snapshot.
        self._qmp("migrate-set-capabilities", capabilities=[
            {"capability": "x-ignore-shared", "state": True}])

    def snapshot(self, path):
        """Writes all but the shared memory to a file. The machine stays stopped: kill it."""
        self._qmp("stop")
        self._qmp("migrate-set-parameters", **{"max-bandwidth": 10 ** 12})
        self._qmp("migrate", uri="exec:cat > %s" % path)
        deadline_s = time.monotonic() + QMP_TIMEOUT_S
        while True:
            status = self._qmp("query-migrate").get("status")
            if status == "completed":
                return
            if status == "failed" or time.monotonic() > deadline_s:
                raise self.error("snapshot: %s" % status)
            time.sleep(0.02)

    def _restore(self, path):
        self._qmp("migrate-incoming", uri="exec:cat %s" % path)
        deadline_s = time.monotonic() + QMP_TIMEOUT_S
        while self._qmp("query-status")["status"] == "inmigrate":
            if time.monotonic() > deadline_s:
                raise self.error("restore took more than %d s" % QMP_TIMEOUT_S)
            time.sleep(0.01)
        self._qmp("cont")
