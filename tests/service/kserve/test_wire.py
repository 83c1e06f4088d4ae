import asyncio
import json

from tests.service.kserve.flat import FlatEngine
from tests.service.kserve.wire import INFER, PHOTO, encoded
from tests.service.opened import http_server, make_frontend


async def test_a_client_that_hangs_up_frees_the_places_of_all_its_images() -> None:
    engine = FlatEngine()
    engine.gate.clear()
    frontend = make_frontend(engine)
    body = json.dumps(encoded(PHOTO, PHOTO)).encode()
    async with http_server(frontend) as port:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(f"POST {INFER} HTTP/1.1\r\nhost: depth\r\ncontent-length: {len(body)}\r\n\r\n".encode())
        writer.write(body)
        await engine.until_in_flight(2)
        writer.close()
        await engine.until_in_flight(0)
    assert engine.cancelled == 2
    assert frontend.budget.held_bytes == 0
