#!/bin/bash
# Installs the Debian packages that Strata is built and tested with. Does nothing, in a
# fraction of a second, where they are all there.
set -eu

packages=(
  # the build
  bazel-bootstrap build-essential pkg-config cmake python3 python3-dev git
  # what the library uses
  libpmem2-dev libpmemobj-dev libpmempool-dev pmdk-tools libhwloc-dev libnuma-dev
  libfmt-dev libxxhash-dev libcli11-dev nlohmann-json3-dev
  # tests, benchmarks and the peers that they are measured against
  catch2 libbenchmark-dev libboost-dev python3-pytest python3-pip python3-venv python3-numpy
  libpython3.11-testsuite strace gfortran cython3
  # the emulated machine of tests/vm (its kernel is fetched by tests/vm/kernel.py) and file systems
  qemu-system-x86 busybox-static e2fsprogs xfsprogs
  # what is installed: the Debian packages, and a new Debian to install them in
  debhelper debootstrap lintian
  # style
  clang-format clang-tidy
  # fuzzing: GCC has no libFuzzer
  clang libclang-rt-14-dev
)

missing=()
for package in "${packages[@]}"; do
  state=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null) || state=absent
  [ "$state" = installed ] || missing+=("$package")
done
[ ${#missing[@]} -gt 0 ] || exit 0

if [ "$(id -u)" -ne 0 ]; then
  echo "missing packages; as root, run: apt-get install ${missing[*]}" >&2
  exit 1
fi
echo "installing: ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
apt-get update -q
apt-get install -y -q --no-install-recommends "${missing[@]}"
