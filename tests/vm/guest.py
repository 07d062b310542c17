"""What the guest holds: an initramfs with busybox, kernel modules and the project's own binaries.

The archive is written here, byte by byte, because that takes no root, no device nodes and no
temporary tree. It stays uncompressed: the emulated CPU would spend a second on unpacking.
"""

import os
import pathlib
import re
import shutil
import subprocess

from tests.vm import kernel

# In this order a guest finds its NVDIMMs, can turn one into memory, and has a disk.
MODULES = (
    "nfit", "nd_pmem", "dax_pmem", "device_dax", "kmem", "virtio_pci", "virtio_blk",
)
DIRECTORIES = (
    "bin", "dev", "etc", "lib/modules", "mnt", "payload", "proc", "run", "sbin", "sys", "tmp",
    "usr/bin", "var/tmp",
)
HERE = pathlib.Path(__file__).resolve().parent
ACCOUNTS = "root:x:0:0:root:/tmp:/bin/sh\nnobody:x:65534:65534:nobody:/tmp:/bin/sh\n"


class Archive:
    """A cpio archive in the `newc` format, the only one that the kernel unpacks.

    Its layout: Documentation/driver-api/early-userspace/buffer-format.rst of the kernel.
    """

    def __init__(self):
        self._parts = []
        self._paths = set()
        for directory in DIRECTORIES:
            self.add_directory(directory)

    def __contains__(self, path):
        return path.lstrip("/") in self._paths

    def _entry(self, path, mode, content):
        path = path.lstrip("/")
        if path in self._paths:
            return
        parent = os.path.dirname(path)
        if parent and parent not in self._paths:
            self.add_directory(parent)
        self._append(path, mode, content)

    def _append(self, path, mode, content):
        self._paths.add(path)
        name = path.encode() + b"\0"
        fields = (
            len(self._paths),  # inode number: any, but distinct
            mode, 0, 0, 1, 0,  # root owns all; the clock stays out of it
            len(content), 0, 0, 0, 0, len(name), 0)
        head = b"070701" + b"".join(b"%08X" % field for field in fields) + name
        for part in (head, content):
            self._parts.append(part)
            self._parts.append(b"\0" * (-len(part) % 4))

    def add_directory(self, path):
        self._entry(path, 0o040755, b"")

    def add_file(self, path, content, mode=0o100755):
        self._entry(path, mode, content)

    def add_symlink(self, path, target):
        self._entry(path, 0o120777, target.encode())

    def write(self, path):
        self._append("TRAILER!!!", 0, b"")
        with open(path, "wb") as out:
            out.writelines(self._parts)


def _libraries(binary):
    """Absolute paths of the shared libraries that the host's loader picks; none for a script."""
    done = subprocess.run(
        ["ldd", binary], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=False)
    if "not found" in done.stdout:
        raise kernel.Unavailable("%s: %s" % (binary, done.stdout))
    return re.findall(r"(/\S+) \(0x", done.stdout) if done.returncode == 0 else []


def _add_program(archive, destination, source):
    source = os.path.realpath(source)
    archive.add_file(destination, pathlib.Path(source).read_bytes())
    for library in _libraries(source):
        if library not in archive:
            archive.add_file(library, pathlib.Path(os.path.realpath(library)).read_bytes())


def _host_tool(name):
    for directory in os.environ.get("PATH", "").split(":") + ["/usr/sbin", "/sbin"]:
        path = os.path.join(directory, name)
        if os.access(path, os.X_OK):
            return path
    raise kernel.Unavailable("no %s on this machine; `./check` installs it" % name)


def require_emulator():
    """The path of the emulator; raises Unavailable where there is none."""
    found = shutil.which("qemu-system-x86_64", path=os.environ.get("PATH", "") + ":/usr/bin")
    if not found:
        raise kernel.Unavailable("no qemu-system-x86_64; `./check` installs qemu-system-x86")
    return found


def build(out, payload, suite=None, tools=()):
    """Writes an initramfs to `out`.

    payload: paths of programs and files; each lands in /payload under its own name.
    suite:   a shell script that the guest runs as /payload/run; none gives a prompt.
    tools:   programs of the host that the guest needs beside mke2fs. busybox has its own mke2fs,
             which knows no block size, so these lie in /payload too.
    """
    busybox = pathlib.Path(_host_tool("busybox"))
    if _libraries(busybox):
        raise kernel.Unavailable("busybox is not static; `./check` installs busybox-static")
    tree = kernel.fetch()
    archive = Archive()
    archive.add_file("bin/busybox", busybox.read_bytes())
    archive.add_symlink("bin/sh", "busybox")
    archive.add_file("etc/passwd", ACCOUNTS.encode(), 0o100644)
    names = []
    for path in kernel.module_order(tree, MODULES):
        archive.add_file("lib/modules/" + path.name, path.read_bytes(), 0o100644)
        names.append(path.name + "\n")
    archive.add_file("lib/modules/order", "".join(names).encode(), 0o100644)
    for script in ("init", "guest.sh"):
        archive.add_file(script, (HERE / script).read_bytes())
    for source in payload:
        _add_program(archive, "payload/" + os.path.basename(source), source)
    for tool in ("mke2fs", *tools):
        _add_program(archive, "payload/" + tool, _host_tool(tool))
    if suite:
        archive.add_file("payload/run", pathlib.Path(suite).read_bytes())
    archive.write(out)
    return kernel.image(tree)
