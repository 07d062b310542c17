"""A folder includes only from itself and from folders below it; see ARCHITECTURE.md.

Bazel's sandbox stops an include that no dependency declares, but not one that arrives through a
dependency of a dependency, and not a dependency declared in the wrong direction.
"""

import os
import re

# Bottom to top. Folders on one line are neighbours, which never include each other.
LAYERS = [
    ["base"],
    ["os"],
    ["sync"],
    ["segment"],
    ["transaction", "numa"],
    ["heap"],
    ["shm", "pmem", "gpu"],
    ["."],  # headers of the root: the place where the backends are composed
    ["job", "c"],
    ["python"],
    ["tools"],
]
# The folders of the command, in the same way; tools/ itself holds main.cc alone.
TOOLS = [["terminal"], ["command"], ["view"], ["segment", "pool", "gpu", "machine"], ["."]]
RANK = {folder: rank for rank, folders in enumerate(LAYERS) for folder in folders}
TOOL_RANK = {folder: rank for rank, folders in enumerate(TOOLS) for folder in folders}
FREE = {"tests", "examples", "bench"}
INCLUDE = re.compile(r'^\s*#\s*include\s*"([^"]+)"')


def source_files(root):
    for directory, folders, files in os.walk(root):
        folders[:] = [f for f in folders if not f.startswith((".", "bazel-"))]
        for name in files:
            if name.endswith((".h", ".cc", ".c", ".cpp", ".hpp", ".cu", ".cuh")):
                yield os.path.relpath(os.path.join(directory, name), root)


def folder_of(path):
    """Public headers are in include/strata/FOLDER, and are included as strata/FOLDER/x.h."""
    path = re.sub("^(include/)?strata/", "", path)
    if path == "version.h":
        return "base"  # all of them say which version they are of
    return path.split("/")[0] if "/" in path else "."


def is_test(path):
    """Unit tests, and what they share, sit beside the code; they may also use tests/."""
    return bool(re.search(r"(_test|_bench|_fuzz|[/_]testing)\.(cc|h)$", path))


def in_tools(path):
    """The folder below tools/; None for what is not of the command."""
    return folder_of(path.removeprefix("tools/")) if path.startswith("tools/") else None


def is_upward_in_tools(path, included):
    source, target = in_tools(path), in_tools(included)
    if source is None or target is None or source == target:
        return False
    return target not in TOOL_RANK or TOOL_RANK[target] >= TOOL_RANK.get(source, -1)


def violations(root):
    found = []
    for path in sorted(source_files(root)):
        folder = folder_of(path)
        if folder in FREE:
            continue
        if folder not in RANK:
            found.append(f"{path}: folder {folder}/ has no place in LAYERS")
            continue
        with open(os.path.join(root, path), errors="replace") as source:
            for number, line in enumerate(source, 1):
                match = INCLUDE.match(line)
                if not match:
                    continue
                target = folder_of(match.group(1))
                where = f'{path}:{number}: includes "{match.group(1)}"'
                if is_upward_in_tools(path, match.group(1)):
                    found.append(f"{where}, which is not below it in TOOLS")
                if target == folder or (target == "tests" and is_test(path)):
                    continue
                if target not in RANK:
                    found.append(f"{where}, which is in no folder of LAYERS")
                elif RANK[target] >= RANK[folder]:
                    found.append(f"{where}, but {target}/ is not below {folder}/")
    return found


def plant(root, path, include):
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_text(f'// A comment.\n#include "{include}"\n')
    return violations(root)


def test_no_source_includes_upward():
    # Through the symlink that Bazel made of this file: the whole tree is no input of one test.
    root = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))
    assert os.path.exists(os.path.join(root, "WORKSPACE"))
    assert violations(root) == []


def test_a_planted_upward_include_is_found(tmp_path):
    assert plant(tmp_path, "base/units.h", "os/file.h") == [
        'base/units.h:2: includes "os/file.h", but os/ is not below base/'
    ]


def test_a_planted_include_between_neighbours_is_found(tmp_path):
    assert plant(tmp_path, "shm/files.cc", "pmem/pool.h") != []
    assert plant(tmp_path, "shm/files.cc", "gpu/driver.h") != []
    assert plant(tmp_path, "numa/policy.cc", "transaction/log.h") != []


def test_a_planted_include_of_the_composition_root_is_found(tmp_path):
    assert plant(tmp_path, "heap/heap.h", "strata.h") != []


def test_a_planted_include_of_test_code_is_found_in_the_library_only(tmp_path):
    assert plant(tmp_path, "os/file_test.cc", "tests/catch.h") == []
    assert plant(tmp_path, "os/file.cc", "tests/catch.h") != []


def test_a_planted_include_between_public_headers_is_found(tmp_path):
    assert plant(tmp_path, "include/strata/sync/a.h", "strata/segment/segment.h") != []
    assert plant(tmp_path, "include/strata/sync/b.h", "strata/strata.h") != []
    assert plant(tmp_path, "sync/a.cc", "strata/segment/segment.h") != []


def test_a_folder_without_a_place_is_found(tmp_path):
    assert plant(tmp_path, "misc/helper.h", "base/units.h") != []


def test_downward_includes_are_fine(tmp_path):
    assert plant(tmp_path, "numa/policy.cc", "segment/segment.h") == []
    assert plant(tmp_path, "include/strata/strata.h", "strata/pmem/pool.h") == []
    assert plant(tmp_path, "segment/segment.cc", "strata/sync/sync_context.h") == []
    assert plant(tmp_path, "tools/main.cc", "strata.h") == []
    assert plant(tmp_path, "bench/attach.cc", "tools/terminal/table.h") == []


def test_a_planted_upward_include_between_folders_of_the_command_is_found(tmp_path):
    assert plant(tmp_path, "tools/terminal/a.cc", "tools/command/command.h") == [
        'tools/terminal/a.cc:2: includes "tools/command/command.h", which is not below it in TOOLS'
    ]
    assert plant(tmp_path, "tools/pool/b.cc", "tools/segment/segment_commands.h") != []
    assert plant(tmp_path, "tools/misc/c.cc", "tools/terminal/table.h") != []


def test_a_command_includes_what_all_commands_share(tmp_path):
    assert plant(tmp_path, "tools/pool/cmd_pool.cc", "tools/view/verdict.h") == []
    assert plant(tmp_path, "tools/main.cc", "tools/pool/pool_commands.h") == []
