"""The machines that suites run on. What a suite in the guest expects is written down here once.

Every pair of nodes differs from every other in its distance, its latency and its bandwidth, so
that a wrong neighbour never passes for the right one.
"""

from tests.vm.machine import Board, Node, Nvdimm

# Node 1 has the best bandwidth, node 2 the best latency and node 3, which has no CPUs and is slow,
# the most memory: each tier has another answer. Node 4 is empty at boot and gets its memory from
# the second NVDIMM, as with memory on CXL.
_NODES = (
    Node(cpu_count=2, memory_mib=512, latency_ns=110, bandwidth_mib_per_s=20480),
    Node(cpu_count=1, memory_mib=512, latency_ns=120, bandwidth_mib_per_s=40960),
    Node(cpu_count=1, memory_mib=512, latency_ns=100, bandwidth_mib_per_s=30720),
    Node(cpu_count=0, memory_mib=768, latency_ns=400, bandwidth_mib_per_s=10240),
    Node(cpu_count=0, memory_mib=0, latency_ns=0, bandwidth_mib_per_s=0),
)
_DISTANCES = (
    (10, 21, 22, 40, 70),
    (21, 10, 23, 50, 71),
    (22, 23, 10, 60, 72),
    (40, 50, 60, 10, 73),
    (70, 71, 72, 73, 10),
)
# A PCI device whose bridge hangs at node 1: something to be near to.
_DEVICE_NEAR_NODE_1 = (
    "-device", "pxb-pcie,id=bridge1,bus_nr=32,bus=pcie.0,numa_node=1",
    "-device", "pcie-root-port,id=port1,bus=bridge1,chassis=1",
    "-device", "virtio-rng-pci,bus=port1",
)


def _empty_module(path, size_mib):
    """The file behind an NVDIMM; sparse, so that it costs what the guest writes."""
    with open(path, "wb") as out:
        out.truncate(size_mib << 20)
    return path


def _four_nodes(work_dir):
    return Board(
        nodes=_NODES, distances=_DISTANCES, devices=_DEVICE_NEAR_NODE_1,
        nvdimms=(
            Nvdimm(_empty_module(work_dir / "nvdimm0", 512), 512, node=0),
            Nvdimm(_empty_module(work_dir / "nvdimm1", 512), 512, node=4)))


def _two_modules(memory_mib, module_mib):
    """One node and two NVDIMMs, the second of them for an ext4 without DAX.

    One processor: several would wait for one another in turn where the host has no more of them,
    and take three times as long. What the power failure cuts short is the same.
    """
    def board(work_dir):
        return Board(
            nodes=(Node(cpu_count=1, memory_mib=memory_mib, latency_ns=0, bandwidth_mib_per_s=0),),
            nvdimms=tuple(
                Nvdimm(_empty_module(work_dir / ("nvdimm%d" % i), module_mib), module_mib)
                for i in range(2)))
    return board


BOARDS = {
    "four_nodes": _four_nodes,
    "two_modules": _two_modules(memory_mib=1024, module_mib=512),
    "small_modules": _two_modules(memory_mib=256, module_mib=128),  # for many restarts
}


def make(name, work_dir):
    """The named board, with new, empty NVDIMMs in work_dir."""
    return BOARDS[name](work_dir)
