"""`python -m strata` is the command `strata`."""

import os
import sys


def main() -> int:
    command = os.path.join(os.path.dirname(os.path.abspath(__file__)), "_command", "strata")
    try:
        os.execv(command, ["strata", *sys.argv[1:]])
    except OSError as error:
        print("strata: %s: %s" % (command, error.strerror), file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
