"""A router for the daemon's service bus, in Python: frames, and calls that are answered here or passed on.

Frame: 4-byte big-endian length, then a protobuf message with one of fifteen fields. Only varints and length-delimited
fields occur. ``data`` of calls is FlexBuffers, except for raw VPN packets.
"""

import asyncio
import contextlib
import re
import socket

from flatbuffers import flexbuffers

HELLO, REGISTER, REGISTERED, UNREGISTER, UNREGISTERED, CALL, REPLY = range(1, 8)
SUBSCRIBE, SUBSCRIBED, UNSUBSCRIBE, UNSUBSCRIBED, BROADCAST, BROADCASTED, PING, PONG = range(8, 16)
OURS = re.compile(
    r"(?:/net/(?P<to>0x\w+)|/from/0x\w+/to/(?P<to2>0x\w+))"
    r"/(?P<kind>exeunit|vpn)/(?P<id>[^/]+)/(?P<method>.+)"
)


def varint(value):
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def message(fields):
    """Encode {field number: int, bytes or text}; zero and empty values are left out."""
    out = b""
    for number, value in fields.items():
        if isinstance(value, int):
            out += varint(number << 3) + varint(value) if value else b""
        elif value:
            raw = value.encode() if isinstance(value, str) else bytes(value)
            out += varint(number << 3 | 2) + varint(len(raw)) + raw
    return out


def parse(raw):
    """Decode into {field number: int or bytes}."""
    fields, position = {}, 0

    def number():
        nonlocal position
        value = shift = 0
        while True:
            byte = raw[position]
            position += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    while position < len(raw):
        key = number()
        if key & 7 == 0:
            fields[key >> 3] = number()
        else:
            length = number()
            fields[key >> 3] = raw[position : position + length]
            position += length
    return fields


def packet(kind, fields):
    body = message(fields)
    whole = varint(kind << 3 | 2) + varint(len(body)) + body
    return len(whole).to_bytes(4, "big") + whole


class Bus:
    """The router. ``handler(kind, node, id, method, data)`` answers calls to exe-units and VPNs."""

    def __init__(self, handler):
        self._handler = handler
        self._routes = {}  # prefix -> writer
        self._topics = {}
        self._pending = {}  # request id -> writer that asked
        self._server = None
        self._tasks = set()

    async def start(self):
        for port in range(7100, 7400):  # the daemon accepts ports of four digits only
            with contextlib.suppress(OSError):
                self._server = await asyncio.start_server(self._serve, "127.0.0.1", port)
                return port
        raise OSError("no free port below 10000")

    async def close(self):
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def send(self, address, data, caller):
        """Call without wanting a reply."""
        writer = self._route(address)
        if writer is not None:
            writer.write(packet(CALL, {1: caller, 2: address, 3: "0", 4: data, 5: 1}))

    def _route(self, address):
        found = [prefix for prefix in self._routes if address.startswith(prefix)]
        return self._routes[max(found, key=len)] if found else None

    async def _serve(self, reader, writer):
        self._tasks.add(asyncio.current_task())
        connection = writer.get_extra_info("socket")
        writer.write(packet(HELLO, {1: "python-hub", 2: "0.1", 3: bytes(range(16))}))
        try:
            while True:
                length = int.from_bytes(await reader.readexactly(4), "big")
                raw = await reader.readexactly(length)
                # The daemon leaves Nagle on: acknowledge at once, or every packet waits 40 ms.
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
                ((kind, body),) = parse(raw).items()
                self._on(kind, parse(body), writer)
        except (asyncio.CancelledError, asyncio.IncompleteReadError, OSError):
            pass
        finally:
            self._routes = {prefix: to for prefix, to in self._routes.items() if to is not writer}
            writer.close()
            self._tasks.discard(asyncio.current_task())

    def _on(self, kind, fields, writer):
        if kind == REGISTER:
            self._routes[fields[1].decode()] = writer
            writer.write(packet(REGISTERED, {2: "ok"}))
        elif kind == UNREGISTER:
            self._routes.pop(fields[1].decode(), None)
            writer.write(packet(UNREGISTERED, {}))
        elif kind == SUBSCRIBE:
            self._topics.setdefault(fields[1], set()).add(writer)
            writer.write(packet(SUBSCRIBED, {}))
        elif kind == UNSUBSCRIBE:
            self._topics.get(fields[1], set()).discard(writer)
            writer.write(packet(UNSUBSCRIBED, {}))
        elif kind == BROADCAST:
            writer.write(packet(BROADCASTED, {}))
            for other in self._topics.get(fields.get(3), set()) - {writer}:
                other.write(packet(BROADCAST, fields))
        elif kind == PING:
            writer.write(packet(PING, {}))
        elif kind == CALL:
            self._call(fields, writer)
        elif kind == REPLY:
            origin = self._pending.get(fields[1])
            if origin is not None:
                if not fields.get(3):  # the last part
                    del self._pending[fields[1]]
                origin.write(packet(REPLY, fields))

    def _call(self, fields, writer):
        address = fields[2].decode()
        wants_reply = not fields.get(5)
        ours = OURS.fullmatch(address)
        if ours is not None:
            task = asyncio.ensure_future(self._answer(ours, fields, writer, wants_reply))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
            return
        to = self._route(address)
        if to is None:
            if wants_reply:
                text = f"endpoint address not found: {address}"
                writer.write(packet(REPLY, {1: fields[3], 2: 400, 4: text}))
            return
        if wants_reply:
            self._pending[fields[3]] = writer
        to.write(packet(CALL, fields))

    async def _answer(self, ours, fields, writer, wants_reply):
        node = ours["to"] or ours["to2"]
        raw = fields.get(4, b"")
        data = raw if ours["method"] == "raw" else flexbuffers.Loads(raw)
        result = await self._handler(ours["kind"], node, ours["id"], ours["method"], data)
        if wants_reply and result is None:
            text = f"endpoint address not found: {fields[2].decode()}"
            writer.write(packet(REPLY, {1: fields[3], 2: 400, 4: text}))
        elif wants_reply:
            writer.write(packet(REPLY, {1: fields[3], 4: flexbuffers.Dumps(result)}))
