#!/usr/bin/env python3
"""Writes compile_commands.json for editors and clangd, from Bazel's action graph.

usage: bazel build //... && bazel/compile_commands.py
"""

import json
import subprocess

# Flags of GCC that clang's tools do not know.
GCC_ONLY = ("-fno-canonical-system-headers", "-Wno-free-nonheap-object", "-Wno-restrict")


def bazel(*args):
    return subprocess.run(
        ("bazel",) + args, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ).stdout


def main():
    root = bazel("info", "workspace").decode().strip()
    execution_root = bazel("info", "execution_root").decode().strip()
    graph = json.loads(bazel("aquery", "--output=jsonproto", 'mnemonic("CppCompile", //...)'))
    entries = {}
    for action in graph.get("actions", []):
        arguments = [a for a in action["arguments"] if a not in GCC_ONLY]
        if "-c" not in arguments:
            continue
        source = arguments[arguments.index("-c") + 1]
        if source.startswith("external/"):
            continue
        entries[source] = {
            "directory": execution_root,
            "file": root + "/" + source,
            "arguments": arguments,
        }
    with open(root + "/compile_commands.json", "w") as out:
        json.dump(sorted(entries.values(), key=lambda entry: entry["file"]), out, indent=1)
    print(len(entries), "entries")


if __name__ == "__main__":
    main()
