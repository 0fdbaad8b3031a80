"""The provider's end of the VPN: Ethernet frames in, TCP connections to a local server out.

ARP, IPv4 and as much TCP as a transport needs that loses nothing and keeps the order: no retransmission, no window
scaling.
"""

import asyncio
import contextlib
import ipaddress
import random
import struct

MSS = 1100
WINDOW = 65535
FIN, SYN, RST, PSH, ACK = 1, 2, 4, 8, 16
MASK = 0xFFFFFFFF


def checksum(data):
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


class Connection:
    """One TCP connection from the requestor."""

    def __init__(self, stack, key, their_mac, sequence):
        self.stack, self.key, self.their_mac = stack, key, their_mac
        self.expected = (sequence + 1) & MASK
        self.next = self.acknowledged = random.getrandbits(32)
        self.window = 0
        self.room = asyncio.Event()
        self.writer = None
        self.waiting = []

    async def open(self, connect):
        try:
            reader, self.writer = await connect(self.key[2])
        except Exception:
            self.segment(RST | ACK)
            self.stack.connections.pop(self.key, None)
            return
        self.segment(SYN | ACK, options=struct.pack("!BBH", 2, 4, MSS))
        self.next = (self.next + 1) & MASK
        with contextlib.suppress(OSError):
            while data := await reader.read(MSS):
                while (self.next - self.acknowledged & MASK) + len(data) > self.window:
                    self.room.clear()
                    await self.room.wait()
                self.segment(PSH | ACK, data)
                self.next = (self.next + len(data)) & MASK
        self.segment(FIN | ACK)
        self.next = (self.next + 1) & MASK

    def segment(self, flags, data=b"", options=b""):
        self.stack.send_tcp(self, flags, data, options)

    def received(self, flags, sequence, acknowledged, window, data):
        if flags & RST:
            self.close()
            return
        if flags & ACK:
            self.acknowledged, self.window = acknowledged, window
            self.room.set()
        if self.writer is None or sequence != self.expected:
            return
        if data:
            self.writer.write(data)
            self.expected = (self.expected + len(data)) & MASK
        if flags & FIN:
            self.expected = (self.expected + 1) & MASK
            with contextlib.suppress(OSError):
                self.writer.write_eof()
        if data or flags & FIN:
            self.segment(ACK)

    def close(self):
        self.stack.connections.pop(self.key, None)
        if self.writer is not None:
            self.writer.close()


class Stack:
    """One address in one VPN.

    ``send(frame)`` transmits; ``await connect(port)`` returns streams to the server behind a port.
    """

    def __init__(self, ip, send, connect):
        self.ip = ipaddress.ip_address(ip).packed
        self.mac = b"\x02\x00" + self.ip
        self._send, self._connect = send, connect
        self.connections = {}
        self._tasks = set()

    def frame(self, raw):
        """Take one Ethernet frame."""
        kind = raw[12:14]
        if kind == b"\x08\x06" and raw[20:22] == b"\0\1" and raw[38:42] == self.ip:
            answer = raw[6:12] + self.mac + b"\x08\x06" + raw[14:20] + b"\0\2"
            self._send(answer + self.mac + self.ip + raw[22:28] + raw[28:32])
        elif kind == b"\x08\x00":
            self._ip(raw[6:12], raw[14:])

    def _ip(self, their_mac, raw):
        header = (raw[0] & 15) * 4
        total = struct.unpack("!H", raw[2:4])[0]
        if raw[9] != 6 or raw[16:20] != self.ip:
            return
        tcp = raw[header:total]
        source, target, sequence, acknowledged, offset, flags, window = struct.unpack(
            "!HHIIBBH", tcp[:16]
        )
        key = (raw[12:16], source, target)
        connection = self.connections.get(key)
        if flags & SYN and connection is None:
            connection = self.connections[key] = Connection(self, key, their_mac, sequence)
            connection.window = window
            task = asyncio.ensure_future(connection.open(self._connect))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        elif connection is not None:
            connection.received(flags, sequence, acknowledged, window, tcp[(offset >> 4) * 4 :])

    def send_tcp(self, connection, flags, data, options):
        their_ip, their_port, port = connection.key
        offset = (5 + len(options) // 4) << 4
        head = struct.pack(
            "!HHIIBBHHH",
            port,
            their_port,
            connection.next,
            connection.expected,
            offset,
            flags,
            WINDOW,
            0,
            0,
        )
        segment = head + options + data
        pseudo = self.ip + their_ip + struct.pack("!BBH", 0, 6, len(segment))
        total = checksum(pseudo + segment)
        segment = segment[:16] + struct.pack("!H", total) + segment[18:]
        header = struct.pack(
            "!BBHHHBBH4s4s", 0x45, 0, 20 + len(segment), 0, 0, 64, 6, 0, self.ip, their_ip
        )
        header = header[:10] + struct.pack("!H", checksum(header)) + header[12:]
        self._send(connection.their_mac + self.mac + b"\x08\x00" + header + segment)

    async def close(self):
        for connection in list(self.connections.values()):
            connection.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
