"""A Debian that has never seen Strata, for tests to install into. Nothing is installed on this machine."""

import os
import shutil
import subprocess

import pytest

from tests.package.using import run

# What chroot needs, in a namespace of mounts that ends with the command.
IN_NAMESPACE = """
set -eu
mount --make-rprivate /
mount -t proc proc "$0/proc"
mount -t tmpfs tmpfs "$0/dev/shm"
exec chroot "$0" /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C \
  DEBIAN_FRONTEND=noninteractive sh -euc "$1"
"""


def need(*tools):
    for tool in tools:
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is not installed")


def mirror():
    """Where apt of this machine has its packages from, and the release."""
    targets = run("apt-get", "indextargets", "--format", "$(CREATED_BY) $(CODENAME) $(REPO_URI)")
    with open("/etc/os-release") as release:
        names = [line.strip() for line in release if line.startswith("VERSION_CODENAME=")]
    codename = names[0].split("=")[1].strip('"') if names else ""
    for line in targets.splitlines():
        index, release, uri = line.split()
        if (index, release) == ("Packages", codename):
            return codename, uri
    pytest.skip(f"apt of this machine knows no mirror of {codename or 'its release'}")


class NewDebian:
    """The release of this machine, in a folder, with a mirror for apt."""

    def __init__(self, root):
        self.root = root
        need("debootstrap", "unshare", "chroot", "apt-get")
        if os.geteuid() != 0:
            pytest.skip("only root makes a chroot")
        if subprocess.run(["unshare", "--mount", "--pid", "--fork", "true"], check=False).returncode:
            pytest.skip("this root may make no namespaces")
        codename, uri = mirror()
        made = subprocess.run(
            ["debootstrap", "--variant=minbase", codename, root, uri],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        if made.returncode != 0:
            pytest.skip("debootstrap: " + made.stdout.strip().splitlines()[-1])
        shutil.copy("/etc/resolv.conf", f"{root}/etc/resolv.conf")
        # No user of its own for apt: the machine may lend none.
        with open(f"{root}/etc/apt/apt.conf.d/test", "w") as settings:
            settings.write('APT::Sandbox::User "root";\nAPT::Install-Recommends "false";\n')
        self.run("apt-get update -q")

    def run(self, script):
        command = ["unshare", "--mount", "--pid", "--fork", "--kill-child"]
        return run(*command, "sh", "-c", IN_NAMESPACE, self.root, script)
