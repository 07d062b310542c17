"""Writes strata/__init__.pyi: for type checkers, the names that the package loads when it is asked.

usage: lazy_stub.py PACKAGE_FOLDER OUTPUT
"""

import os
import runpy
import sys

# Of the compiled module, whose own stub leaves it out.
VERSION = "__version__"


def stub(package):
    """The text of the stub, from the table in __init__.py."""
    names = runpy.run_path(os.path.join(package, "__init__.py"))
    lines = []
    for module, names_there in sorted(names["_WHERE"].items()):
        lines.append("from %s import (" % module)
        lines += ["    %s as %s," % (name, name) for name in sorted(names_there) if name != VERSION]
        lines.append(")")
    for module in names["_MODULES"]:
        lines.append("from strata import %s as %s" % (module, module))
    lines += ["", VERSION + ": str", "", "__all__ = ["]
    lines += ['    "%s",' % name for name in sorted(names["__all__"])]
    lines += ["]", "", "def __dir__() -> list[str]: ...", ""]
    return "\n".join(lines)


def main(arguments):
    if len(arguments) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    package, output = arguments
    text = stub(package)
    with open(output, "w") as file:
        file.write(text)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
