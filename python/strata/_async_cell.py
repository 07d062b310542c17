"""wait_async() of strata.Cell."""

from strata._asyncio import until


async def wait(cell, newer_than, timeout):
    return await until(lambda: cell.wait(newer_than, 0), timeout) or None
