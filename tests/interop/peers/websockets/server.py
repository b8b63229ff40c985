"""A WebSocket server on 127.0.0.1 that echoes: PORT [PING_INTERVAL PING_TIMEOUT].

Without the two it never pings. Prints what it measures and how connections end.
"""

import asyncio
import sys

from websockets.asyncio.server import serve
from websockets.exceptions import ConnectionClosed


async def report_latency(connection):
    while True:
        await asyncio.sleep(0.5)
        print(f"latency {connection.latency:.6f}", flush=True)


async def echo(connection):
    reporter = asyncio.create_task(report_latency(connection))
    try:
        async for message in connection:
            await connection.send(message)
    except ConnectionClosed:
        pass
    finally:
        reporter.cancel()
        print(f"closed {connection.close_code} {connection.close_reason}", flush=True)


async def main(port, interval=None, timeout=None):
    limits = {"ping_interval": interval, "ping_timeout": timeout, "close_timeout": 1}
    async with serve(echo, "127.0.0.1", int(port), **limits) as server:
        await server.serve_forever()


asyncio.run(main(sys.argv[1], *map(float, sys.argv[2:])))
