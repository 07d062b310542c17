"""Programs of an earlier commit, built from the history beside this tree."""

import os
import re
import shutil
import subprocess

# Where make_golden is: it takes the place of what the old tree has there.
GENERATOR = "tests/format"
BUILD = """\
load("@rules_cc//cc:defs.bzl", "cc_binary")

cc_binary(
    name = "make_golden",
    testonly = True,
    srcs = glob(["golden_*.h", "make_golden*"], exclude = ["*.py", "golden_segment.h"]),
    deps = [
        "//:strata",
        "//heap",
        "//heap:list",
        "//sync",
        "//tests:child",
    ],
)
"""


def has_commit(root, commit):
    look = ["git", "-C", root, "cat-file", "-e", commit + "^{commit}"]
    return subprocess.run(look, capture_output=True, check=False).returncode == 0


def unpack(root, commit, folder):
    os.makedirs(folder)
    git = ["git", "-C", root, "archive", commit]
    with subprocess.Popen(git, stdout=subprocess.PIPE) as archive:
        subprocess.run(["tar", "-x", "-C", folder], stdin=archive.stdout, check=True)
    assert archive.returncode == 0, f"git archive {commit}"
    # Where this machine has a cache of what was built before.
    if os.path.exists(os.path.join(root, "user.bazelrc")):
        shutil.copy(os.path.join(root, "user.bazelrc"), folder)
    return folder


def as_in(tree, text):
    """The source in the words of that tree, in which headers may be elsewhere."""

    def header(match):
        if os.path.exists(os.path.join(tree, "include", match[1])):
            return match[0]
        beside = match[1].removeprefix("strata/")
        if not os.path.exists(os.path.join(tree, beside)):
            beside = "heap/" + os.path.basename(beside)  # where transaction_map.h was once
        return f'"{beside}"'

    if not os.path.exists(os.path.join(tree, "include/strata/version.h")):
        text = text.replace("namespace strata::inline v0_1", "namespace strata")
    return re.sub('"(strata/[^"]+[.]h)"', header, text)


def add_generator(root, tree):
    target = os.path.join(tree, GENERATOR)
    for name in os.listdir(os.path.join(root, GENERATOR)):
        if name.startswith(("golden_", "make_golden")):
            with open(os.path.join(root, GENERATOR, name)) as file:
                text = file.read()
            with open(os.path.join(target, name), "w") as file:
                file.write(as_in(tree, text))
    with open(os.path.join(target, "BUILD"), "w") as file:
        file.write(BUILD)


def build(tree, folder, targets):
    """Copies in `folder` of what these targets, each one program, are built to."""
    # A test's variables, as Bazel sets them, would be taken for settings of this build. Compilers
    # are looked for in PATH: another order is another path, and finds nothing in a cache.
    environment = {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": os.environ.get("HOME") or folder}

    def bazel(*arguments):
        own_folder = "--output_base=" + os.path.join(folder, "bazel")
        return subprocess.run(
            ["bazel", own_folder, *arguments],
            cwd=tree, env=environment, check=True, stdout=subprocess.PIPE, text=True)  # fmt: skip

    os.makedirs(folder, exist_ok=True)
    programs = []
    try:
        bazel("build", "--symlink_prefix=/", *targets)
        out = bazel("info", "bazel-bin").stdout.strip()
        for target in targets:
            built = os.path.join(out, target.removeprefix("//").replace(":", "/"))
            programs.append(shutil.copy(built, folder))
    finally:
        bazel("clean", "--expunge")  # and its server ends
    return programs
