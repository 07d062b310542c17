"""Waiting in asyncio for what is shared between processes.

An event loop cannot sleep on words of shared memory. A thread for each waiter can, but cannot be
cancelled, and might take a lock for a task that is gone. So a waiter looks, which costs well under
a microsecond, and sleeps in pauses that grow from a pass of the event loop to 10 ms. What is taken
is taken in one step between two awaits: whoever is cancelled holds nothing.
"""

import asyncio

_LOOKS_AT_ONCE = 4  # passes of the event loop before the first pause
_FIRST_PAUSE_S = 0.0001
_LONGEST_PAUSE_S = 0.01


async def until(look, timeout):
    """Waits until look() is true, and returns what it gave; False after timeout seconds."""
    found = look()
    if found or (timeout is not None and timeout <= 0):
        return found
    clock = asyncio.get_running_loop().time
    end = None if timeout is None else clock() + timeout
    for _ in range(_LOOKS_AT_ONCE):
        await asyncio.sleep(0)
        found = look()
        if found:
            return found
    pause = _FIRST_PAUSE_S
    while True:
        left = pause if end is None else end - clock()
        if left <= 0:
            return False
        await asyncio.sleep(min(pause, left))
        found = look()
        if found:
            return found
        pause = min(pause * 1.5, _LONGEST_PAUSE_S)


async def acquire(lock, timeout):
    return await until(lock._try_acquire, timeout)


async def enter(lock):
    await until(lock._try_acquire, None)


async def leave(lock):
    lock.release()


async def event_wait(event, timeout):
    return await until(event.is_set, timeout)


async def _resume(condition, ticket):
    """Takes the lock again, also when the task is cancelled: it is released by `async with`."""
    cancelled = None
    while True:
        try:
            await until(lambda: condition._try_resume(ticket), None)
            break
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        raise cancelled


async def condition_wait(condition, timeout):
    ticket = condition._begin_wait()
    try:
        return await until(lambda: condition._has_woken(ticket), timeout)
    finally:
        await _resume(condition, ticket)


async def condition_wait_for(condition, predicate, timeout):
    clock = asyncio.get_running_loop().time
    end = None if timeout is None else clock() + timeout
    found = predicate()
    while not found:
        left = None if end is None else end - clock()
        if left is not None and left <= 0:
            break
        await condition_wait(condition, left)
        found = predicate()
    return found


async def barrier_wait(barrier, timeout):
    arrival = barrier._arrive()
    if arrival.is_last:
        return arrival.index
    try:
        over = await until(
            lambda: barrier._look(arrival), barrier._timeout if timeout is None else timeout
        )
    except asyncio.CancelledError:
        barrier._withdraw(arrival)
        raise
    if not over:
        barrier._time_out(arrival)
    return arrival.index
