"""One request and its answer on the wire, with what every answer carries."""

import asyncio

from starlette.types import Message, Receive, Scope, Send

from service.rest.errors import ClientGone, ErrorAnswer, ErrorForm
from service.transports.frontend import Frontend

_LINGER_S = 2.0
"""How long a refused body is still read: closing at once would throw our answer away with it (TCP resets)."""


class Exchange:
    """Stands between the application and the wire, and remembers what went through.

    Args:
        scope: The request's.
        receive: The wire's.
        send: The wire's.
        request_id: Goes into the answer.
        frontend: Says whether the service is closing.
        form: Of errors.
    """

    def __init__(
        self, scope: Scope, receive: Receive, send: Send, request_id: str, frontend: Frontend, form: ErrorForm
    ) -> None:
        self._scope = scope
        self._receive = receive
        self._send = send
        self._request_id = request_id
        self._frontend = frontend
        self._form = form
        self._body_read = False
        self.status = 0
        """Of the answer; 0 as long as there is none."""

    async def receive(self) -> Message:
        """Pass a message in."""
        message = await self._receive()
        if message["type"] == "http.request" and not message.get("more_body", False):
            self._body_read = True
        return message

    async def send(self, message: Message) -> None:
        """Pass a message out, with the headers that every answer has.

        Raises:
            ClientGone: The connection broke before, or while it waited for its turn.
        """
        if message["type"] == "http.response.start":
            self.status = message["status"]
            message["headers"] = [*message.get("headers", ()), *self._common_headers()]
        elif message["type"] == "websocket.accept":
            self.status = 101
            message["headers"] = [*message.get("headers", ()), *self._common_headers()]
        try:
            await self._send(message)
        except OSError:
            raise ClientGone from None

    async def refuse(self, answer: ErrorAnswer) -> None:
        """Respond with an error."""
        body = self._form(answer.code, answer.message, self._request_id)
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(body)).encode()),
            *answer.headers,
        ]
        kind = "http.response"
        if self._scope["type"] == "websocket":
            kind = "websocket.http.response"
        unread = self._body_unread()
        if unread:
            headers.append((b"connection", b"close"))
        self.status = answer.status
        start = {"status": int(answer.status), "headers": [*headers, *self._common_headers()]}
        await self._send({"type": f"{kind}.start", **start})
        await self._send({"type": f"{kind}.body", "body": body, "more_body": unread})
        if unread:
            await self._drop_body()
            await self._send({"type": f"{kind}.body", "body": b"", "more_body": False})

    def _common_headers(self) -> list[tuple[bytes, bytes]]:
        headers = [(b"x-request-id", self._request_id.encode()), (b"x-content-type-options", b"nosniff")]
        if self._frontend.closing:
            # The next request of this client then goes to a server that stays.
            headers.append((b"connection", b"close"))
        return headers

    def _body_unread(self) -> bool:
        if self._body_read or self._scope["type"] != "http":
            return False
        return any(
            (name == b"content-length" and value != b"0") or name == b"transfer-encoding"
            for name, value in self._scope["headers"]
        )

    async def _drop_body(self) -> None:
        try:
            async with asyncio.timeout(_LINGER_S):
                while not self._body_read:
                    if (await self.receive())["type"] == "http.disconnect":
                        return
        except TimeoutError:
            return
