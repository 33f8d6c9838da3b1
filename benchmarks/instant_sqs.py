"""A server with the protocol of SQS that answers at once and keeps nothing, as a process of its own.

A receiver or an end that works against it shows its own rate: the server needs little CPU time, and never has no
messages. It prints its port when it is ready.
"""

from __future__ import annotations

import argparse
import asyncio

import orjson

from metroline.agents.gateways.sqs.batches import MOST
from metroline.app.local.ports import HOST

END_OF_HEAD = b"\r\n\r\n"
SIZE = b"content-length:"

ANSWERS = {
    b"GetQueueUrl": orjson.dumps({"QueueUrl": f"http://{HOST}/000000000000/instant"}),
    b"GetQueueAttributes": orjson.dumps({"Attributes": {"VisibilityTimeout": "60", "MaximumMessageSize": "262144"}}),
    b"DeleteMessageBatch": orjson.dumps({"Successful": []}),
}
SENT = [orjson.dumps({"Successful": [{"Id": str(place)} for place in range(count)]}) for count in range(MOST + 1)]
"""The answers to calls that send messages, by the number of these."""

MESSAGE = orjson.dumps(
    {
        "MessageId": "ID",
        "ReceiptHandle": "handle-ID",
        "Body": "BODY",
        "Attributes": {
            "SentTimestamp": "1700000000000",
            "ApproximateReceiveCount": "1",
            "ApproximateFirstReceiveTimestamp": "1700000000000",
        },
    }
)


class Answering(asyncio.Protocol):
    """A connection: requests come one after the other, each with a body."""

    received = 0
    """Messages that were handed out on all connections."""

    def __init__(self, body: str) -> None:
        """`body` is that of each message that is handed out."""
        self._message = MESSAGE.replace(b'"BODY"', orjson.dumps(body))
        self._data = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._data += data
        while self._transport is not None:
            head, found, rest = self._data.partition(END_OF_HEAD)
            if not found:
                return
            place = head.lower().index(SIZE) + len(SIZE)
            size = int(head[place:].partition(b"\r\n")[0])
            if len(rest) < size:
                return
            body, self._data = rest[:size], rest[size:]
            answer = self._answer(head, body)
            about = f"Content-Type: application/x-amz-json-1.0\r\nContent-Length: {len(answer)}"
            self._transport.write(f"HTTP/1.1 200 OK\r\n{about}\r\n\r\n".encode() + answer)

    def _answer(self, head: bytes, body: bytes) -> bytes:
        action = head.partition(b"AmazonSQS.")[2].partition(b"\r\n")[0]
        if action == b"ReceiveMessage":
            first = Answering.received
            Answering.received += MOST
            messages = (self._message.replace(b"ID", b"%d" % number, 2) for number in range(first, first + MOST))
            return b'{"Messages":[' + b",".join(messages) + b"]}"
        if action == b"SendMessageBatch":
            return SENT[body.count(b'"MessageBody"')]
        return ANSWERS.get(action, b"{}")


async def serve(body: str) -> None:
    """Answer until the process is ended."""
    server = await asyncio.get_running_loop().create_server(lambda: Answering(body), HOST, 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


def main() -> None:
    """Run the server."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("body", type=argparse.FileType("r"), help="file with the body of each message")
    with parser.parse_args().body as file:
        asyncio.run(serve(file.read()))


if __name__ == "__main__":
    main()
