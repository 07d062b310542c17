# cython: language_level=3
"""The array in Cython: a segment is a typed memoryview, without NumPy and with no copy.

    cython3 one_cython.pyx
    gcc -shared -fPIC one_cython.c -o one_cython.so $(python3-config --includes)
    python3 -c 'import one_cython; one_cython.add_number("shm:one")'
"""

import strata


def add_number(uri):
    cdef double[::1] numbers = strata.attach(uri)  # ValueError where the header says another type
    cdef double total = 0
    cdef Py_ssize_t i
    with nogil:
        for i in range(numbers.shape[0]):
            total += numbers[i]
        numbers[2] = total + 1
    print(f"Cython reads the sum {total:g} and writes {numbers[2]:g}")
