"""The array in Python: dtype and shape come from the header.

    python3 one.py shm:one
"""

import sys

import strata


def main(uri):
    numbers = strata.attach(uri).array()
    total = numbers.sum()
    numbers[3] = total + 1
    print(f"Python reads the sum {total:g} and writes {numbers[3]:g}: {numbers}")


if __name__ == "__main__":
    main(sys.argv[1])
