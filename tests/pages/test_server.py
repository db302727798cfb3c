"""Requests in flight when the server stops."""

import asyncio
import threading

from botcrypto.server import drain


def test_short_requests_finish_and_long_ones_are_cancelled():
    loop = asyncio.new_event_loop()
    short = loop.create_task(asyncio.sleep(0.01, "done"))
    long = loop.create_task(asyncio.sleep(600))
    drain(loop, 0.1)
    assert short.result() == "done"
    assert long.cancelled()
    loop.close()


def test_thread_that_waits_for_the_loop_is_let_go():
    """As a view does behind a middleware that is not asynchronous."""
    loop, ended = asyncio.new_event_loop(), threading.Event()
    future = asyncio.run_coroutine_threadsafe(asyncio.sleep(600), loop)
    future.add_done_callback(lambda done: ended.set())
    loop.call_soon(loop.stop)
    loop.run_forever()
    drain(loop, 0.01)
    assert ended.wait(5)
    loop.close()


def test_nothing_in_flight():
    loop = asyncio.new_event_loop()
    drain(loop)
    loop.close()
    drain(loop)
