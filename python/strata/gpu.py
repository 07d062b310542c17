"""What concerns GPUs alone: devices, and the order of work of several processes on one segment.

A cuda: segment itself is made and attached like any other: strata.create("cuda:weights", shape,
"float32", device=0). PyTorch and CuPy see it without a copy:

    tensor = torch.from_dlpack(segment)
    array = cupy.asarray(segment)

and the other process attaches by name, or gets the segment by pickle. No driver is loaded before it
is needed; without one, what needs it raises NoDriverError.
"""

from strata._core import Follower, PendingWait, Signaller, Timeline
from strata._core import gpu_devices as _gpu_devices

__all__ = ["Follower", "PendingWait", "Signaller", "Timeline", "devices", "timeline"]


def devices():
    """The GPUs that the driver shows this process: dicts of number, name, uuid, pci_address, nbytes
    and node (the nearest NUMA node, or None where nobody knows). Raises NoDriverError."""
    return _gpu_devices()


def timeline(segment):
    """The Timeline of a cuda: segment.

    # the producer                                # a consumer
    filled = strata.gpu.timeline(segment).claim(0)
                                                  filled = strata.gpu.timeline(segment).follow(0, 5.0)
    ... fill it on `stream` ...
    filled.signal(1, stream)
                                                  pending = filled.wait(1, stream, timeout=5.0)
                                                  ... use it on `stream` ...
                                                  pending.result()

    Raises UnsupportedError for memory of the host.
    """
    return Timeline.of(segment)
