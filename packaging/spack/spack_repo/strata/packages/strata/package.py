"""How Spack (1.0 and later) builds Strata. The repository is added once, and a checkout built from:

    spack repo add packaging/spack/spack_repo/strata
    spack dev-build --source-path . strata@0.1.0
"""

import os

from spack_repo.builtin.build_systems.cmake import CMakePackage

from spack.package import *


class Strata(CMakePackage):
    """Memory that processes share by name: on the memory node, in the persistent pool or on the
    GPU where it belongs."""

    license("BSD-3-Clause")

    version("0.1.0")

    libs_values = ("shared", "static")
    variant(
        "libs",
        default=",".join(libs_values),
        values=libs_values,
        multi=True,
        description="Build the shared library, the static one, or both",
    )
    variant("command", default=True, description="Build the command")
    # Nothing of CUDA is linked or included: the driver is found when a program runs.
    variant("cuda", default=False, description="Have a CUDA toolkit beside it when programs run")

    depends_on("cxx", type="build")
    depends_on("cmake@3.18:", type="build")
    depends_on("pkgconfig", type="build")

    depends_on("pmdk@1.12.1:1")
    depends_on("hwloc@2.9:")
    depends_on("fmt@9.1:")
    depends_on("xxhash@0.8.1:")
    # One of the installed headers, strata/heap/containers.h, includes some of Boost's.
    depends_on("boost@1.74: +container", type=("build", "link", "run"))
    depends_on("cli11@2.1.2:", type="build", when="+command")
    depends_on("nlohmann-json@3.11.2:", type="build", when="+command")
    depends_on("cuda", type="run", when="+cuda")

    # File locks, futexes, memory policies.
    conflicts("platform=darwin", msg="Strata needs Linux")
    conflicts("platform=windows", msg="Strata needs Linux")
    conflicts("%gcc@:11", msg="Strata needs C++20 as GCC 12 has it")

    def cmake_args(self):
        args = [
            self.define_from_variant("STRATA_BUILD_COMMAND", "command"),
            self.define("STRATA_BUILD_TESTS", self.run_tests),
        ]
        # Both are built unless one is asked for.
        if not self.spec.satisfies("libs=shared,static"):
            args.append(self.define("BUILD_SHARED_LIBS", self.spec.satisfies("libs=shared")))
        return args

    @run_after("install")
    def keep_test_sources(self):
        cache_extra_test_sources(self, [join_path("tests", "package")])

    def test_command(self):
        """the command lists what is shared"""
        if self.spec.satisfies("~command"):
            raise SkipTest("the command was not built")
        strata = which(self.prefix.bin.strata, required=True)
        strata("ls", "--json")

    def test_consumer(self):
        """a program finds Strata with CMake, and shares memory"""
        source = join_path(self.test_suite.current_test_cache_dir, "tests", "package")
        cmake = which("cmake", required=True)
        with working_dir("consumer", create=True):
            cmake("-DCMAKE_PREFIX_PATH={0}".format(self.prefix), source)
            cmake("--build", ".", "--target", "consumer_shared")
            consumer = which(join_path(os.getcwd(), "consumer_shared"), required=True)
            out = consumer("shm:spack-test-{0}".format(os.getpid()), output=str.split, error=str)
            assert "hello from another mapping" in out
