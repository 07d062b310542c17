"""Every external repository of Strata. All are of this machine but nanobind, which PyPI has."""

load("//bazel:cuda_repository.bzl", "cuda_repository")
load("//bazel:nanobind_repository.bzl", "nanobind_repository")
load("//bazel:pkg_config_repository.bzl", "pkg_config_repository")
load("//bazel:system_header_repository.bzl", "system_header_repository")

# (repository, pkg-config name, Debian package)
_LIBRARIES = [
    ("benchmark", "benchmark", "libbenchmark-dev"),
    ("catch2", "catch2", "catch2"),
    ("fmt", "fmt", "libfmt-dev"),
    ("hwloc", "hwloc", "libhwloc-dev"),
    ("numactl", "numa", "libnuma-dev"),
    ("pmem2", "libpmem2", "libpmem2-dev"),
    ("pmemobj", "libpmemobj", "libpmemobj-dev"),
    ("pmempool", "libpmempool", "libpmempool-dev"),
    ("python", "python3", "python3-dev"),
    ("xxhash", "libxxhash", "libxxhash-dev"),
]

# (repository, a header of it, Debian package)
_HEADERS = [
    ("boost", "boost/version.hpp", "libboost-dev"),
    ("cli11", "CLI/CLI.hpp", "libcli11-dev"),
    ("json", "nlohmann/json.hpp", "nlohmann-json3-dev"),
]

def system_repositories():
    """Defines them, for WORKSPACE and for the module extension alike."""
    cuda_repository(name = "local_cuda")
    nanobind_repository(name = "nanobind")
    for name, pkg, apt in _LIBRARIES:
        pkg_config_repository(name = name, target = name, pkg = pkg, apt = apt)
    for name, header, apt in _HEADERS:
        system_header_repository(name = name, target = name, header = header, apt = apt)
