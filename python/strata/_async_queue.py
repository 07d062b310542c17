"""put_async() and get_async() of strata.Queue."""

import queue

from strata._asyncio import until


async def put(shared, message, timeout):
    def look():
        if shared.pickle and shared.full():
            return False  # before it is pickled once more
        try:
            shared.put_nowait(message)
        except queue.Full:
            return False
        return True

    if not await until(look, timeout):
        raise queue.Full


async def get(shared, timeout):
    def look():
        try:
            return (shared.get_nowait(),)  # not empty, whatever the message is
        except queue.Empty:
            return ()

    got = await until(look, timeout)
    if not got:
        raise queue.Empty
    return got[0]
