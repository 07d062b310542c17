"""Drives libcuda.so.1, as the loader finds it, through NVIDIA's own Python bindings.

Prints a line of JSON for each call: what it was, what may come back, what did.
"""

import ctypes
import json
import os

from cuda.bindings import driver as cu

FD = cu.CUmemAllocationHandleType.CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR
FABRIC = cu.CUmemAllocationHandleType.CU_MEM_HANDLE_TYPE_FABRIC
NO_HANDLE = cu.CUmemAllocationHandleType.CU_MEM_HANDLE_TYPE_NONE
LOCATION = cu.CUmemLocationType
MINIMUM = cu.CUmemAllocationGranularity_flags.CU_MEM_ALLOC_GRANULARITY_MINIMUM
READ = cu.CUmemAccess_flags.CU_MEM_ACCESS_FLAGS_PROT_READ
READ_WRITE = cu.CUmemAccess_flags.CU_MEM_ACCESS_FLAGS_PROT_READWRITE


def say(what, wanted, answer):
    result = answer[0] if isinstance(answer, tuple) else answer
    print(json.dumps({"what": what, "wanted": wanted, "got": int(result)}), flush=True)


def need(answer):
    result, *values = answer
    assert result == cu.CUresult.CUDA_SUCCESS, result
    return values[0] if len(values) == 1 else values


def properties(types=FD, location=LOCATION.CU_MEM_LOCATION_TYPE_DEVICE, number=0):
    wanted = cu.CUmemAllocationProp()
    wanted.type = cu.CUmemAllocationType.CU_MEM_ALLOCATION_TYPE_PINNED
    wanted.location.type = location
    wanted.location.id = number
    wanted.requestedHandleTypes = types
    return wanted


def access(flags, number=0):
    wanted = cu.CUmemAccessDesc()
    wanted.location.type = LOCATION.CU_MEM_LOCATION_TYPE_DEVICE
    wanted.location.id = number
    wanted.flags = flags
    return wanted


def start():
    say("cuMemCreate before cuInit", [3], cu.cuMemCreate(1 << 21, properties(), 0))
    say("cuInit(1)", [1], cu.cuInit(1))
    need(cu.cuInit(0))
    device = need(cu.cuDeviceGet(0))
    need(cu.cuCtxPushCurrent(need(cu.cuDevicePrimaryCtxRetain(device))))
    name = need(cu.cuDeviceGetName(200, device))
    assert b"FAKE" in name, name
    uuid = bytes(need(cu.cuDeviceGetUuid(device)).bytes)
    assert uuid == b"FAKE-CUDA-GPU-00", uuid
    say("cuDeviceGet(99)", [101], cu.cuDeviceGet(99))


def create(granule):
    say("create size 0", [1], cu.cuMemCreate(0, properties(), 0))
    say("create size not a multiple", [1], cu.cuMemCreate(granule - 1, properties(), 0))
    say("create on device -1", [1, 101], cu.cuMemCreate(granule, properties(number=-1), 0))
    say("create flags 1", [1], cu.cuMemCreate(granule, properties(), 1))
    host = properties(location=LOCATION.CU_MEM_LOCATION_TYPE_HOST)
    say("create HOST with a handle type", [1], cu.cuMemCreate(granule, host, 0))
    say("create FABRIC", [800, 801], cu.cuMemCreate(granule, properties(FABRIC), 0))
    say("granularity of a bad device", [0],
        cu.cuMemGetAllocationGranularity(properties(number=99), MINIMUM))  # fmt: skip


def share(granule):
    shared = need(cu.cuMemCreate(granule, properties(), 0))
    private = need(cu.cuMemCreate(granule, properties(NO_HANDLE), 0))
    say("export not requested", [1], cu.cuMemExportToShareableHandle(private, FD, 0))
    say("export flags 1", [1], cu.cuMemExportToShareableHandle(shared, FD, 1))
    say("import fd -1", [1], cu.cuMemImportFromShareableHandle((1 << 64) - 1, FD))
    null = os.open("/dev/null", os.O_RDWR)
    say("import fd of /dev/null", [1], cu.cuMemImportFromShareableHandle(null, FD))
    fd = int(need(cu.cuMemExportToShareableHandle(shared, FD, 0)))
    imported = need(cu.cuMemImportFromShareableHandle(fd, FD))
    say("properties of an import", [0], cu.cuMemGetAllocationPropertiesFromHandle(imported))
    one, other = (need(cu.cuMemAddressReserve(granule, 0, 0, 0)) for _ in range(2))
    say("map", [0], cu.cuMemMap(one, granule, 0, shared, 0))
    say("map the import", [0], cu.cuMemMap(other, granule, 0, imported, 0))
    for address in (one, other):
        say("set access", [0], cu.cuMemSetAccess(address, granule, [access(READ_WRITE)], 1))
    say("write", [0], cu.cuMemcpyHtoD(one, b"through NVIDIA's bindings", 25))
    back = bytearray(25)
    say("read", [0], cu.cuMemcpyDtoH(back, other, 25))
    assert back == b"through NVIDIA's bindings", back
    say("write-protect", [0], cu.cuMemSetAccess(one, granule, [access(READ)], 1))
    say("write what is read-only", [1], cu.cuMemcpyHtoD(one, b"x", 1))
    say("access for device 99", [1, 101], cu.cuMemSetAccess(one, granule, [access(READ, 99)], 1))
    say("map over a mapping", [1, 208], cu.cuMemMap(one, granule, 0, shared, 0))
    say("retain inside a mapping", [0], cu.cuMemRetainAllocationHandle(int(one) + 4096))
    say("free addresses while mapped", [1], cu.cuMemAddressFree(one, granule))
    say("IPC handle of VMM memory", [1], cu.cuIpcGetMemHandle(one))
    say("unmap", [0], cu.cuMemUnmap(one, granule))
    say("unmap twice", [1], cu.cuMemUnmap(one, granule))
    say("free addresses", [0], cu.cuMemAddressFree(one, granule))
    say("release", [0], cu.cuMemRelease(shared))
    say("release 0", [1], cu.cuMemRelease(0))


def allocate():
    address = need(cu.cuMemAlloc(1 << 20))
    handle = need(cu.cuIpcGetMemHandle(address))
    say("open at home", [201], cu.cuIpcOpenMemHandle(handle, 1))
    say("open flags 0", [1], cu.cuIpcOpenMemHandle(handle, 0))
    say("close an own allocation", [1], cu.cuIpcCloseMemHandle(address))
    say("retain cuMemAlloc memory", [1, 801], cu.cuMemRetainAllocationHandle(int(address)))
    say("range of a host address", [500, 1], cu.cuMemGetAddressRange(0x1000))
    say("free", [0], cu.cuMemFree(address))
    say("free twice", [1], cu.cuMemFree(address))


def pin():
    memory = ctypes.create_string_buffer(1 << 20)
    address = (ctypes.addressof(memory) + 4095) & ~4095
    say("register", [0], cu.cuMemHostRegister(address, 1 << 16, 0))
    say("register an overlap", [712], cu.cuMemHostRegister(address + 4096, 4096, 0))
    say("unregister others", [713], cu.cuMemHostUnregister(address + (1 << 17)))
    say("unregister", [0], cu.cuMemHostUnregister(address))


def fork():
    child = os.fork()
    if child == 0:
        say("cuMemCreate in a forked child", [3], cu.cuMemCreate(1 << 21, properties(), 0))
        say("cuInit in a forked child", [3], cu.cuInit(0))
        os._exit(0)
    os.waitpid(child, 0)


def main():
    start()
    granule = int(need(cu.cuMemGetAllocationGranularity(properties(), MINIMUM)))
    create(granule)
    share(granule)
    allocate()
    pin()
    fork()
    print(json.dumps({"what": "all asked", "wanted": [0], "got": 0}))


main()
