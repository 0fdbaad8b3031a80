"""Program whose system calls are recorded: ``trace_program.py FOLDER``.

It does everything that writes: set-up, single and grouped pushes, acknowledgements, a dead letter, the reserve,
checkpoints, damage and salvage, a second opening. Marks are written to descriptor 1: ``stored R...`` after a push has
returned, ``dead R`` after a dead letter is kept, ``going R...`` before messages leave the queue on purpose.
"""

import os
import pathlib
import sys
import zlib

from infi.ramen_client.diskqueue import DeadLetters, DiskQueue, Outcome, QueueFiles


def say(word, reqids):
    os.write(1, f"{word} {' '.join(reqids)}\n".encode())


def row(reqid):
    return ("m", "t", "v1", reqid, zlib.compress(f"{reqid} ".encode() * (1 + len(reqid) * 20)))


def push(queue, *reqids):
    if len(reqids) == 1:
        queue.push(row(reqids[0]))
    else:
        queue.push_many([row(reqid) for reqid in reqids])
    say("stored", reqids)


def remove(queue, reqids, outcome):
    say("going", reqids)
    rows = queue.read(limit=1000)
    queue.remove([r["id"] for r in rows if r["reqid"] in reqids], outcome)


def main(folder):
    files = QueueFiles(folder, "imx", 1099)
    queue = DiskQueue(files)
    for number in range(6):
        push(queue, f"a{number}")
    push(queue, *(f"b{number}" for number in range(30)))
    remove(queue, ["a0", "a1", "b3"], Outcome.ACCEPTED)
    queue.tidy()
    for number in range(4):
        push(queue, f"c{number}")

    dead = DeadLetters(files)
    letter = next(r for r in queue.read(limit=100) if r["reqid"] == "c0")
    dead.add(letter, reqid="c0", reason="refused", status=400, body=b"no")
    say("dead", ["c0"])
    remove(queue, ["c0"], Outcome.DEAD)
    push(queue, "d0")
    queue.close()

    queue = DiskQueue(files)
    push(queue, "e0")
    for number in range(3):
        push(queue, *(f"f{number}x{index}" for index in range(40)))
        queue.tidy()
    remove(queue, [f"f0x{index}" for index in range(40)], Outcome.ACCEPTED)
    queue.tidy()
    push(queue, "g0")
    queue.close()

    # Damage: the middle of the table is overwritten, the messages there are lost by that and by nothing else.
    page = bytearray(pathlib.Path(files.database).read_bytes())
    lost = len(page) // 4096 // 2
    leaf = bytes(page[(lost - 1) * 4096 : lost * 4096])
    say("going", [f"{k}" for k in sorted(reqids_in(leaf))])
    fd = os.open(files.database, os.O_WRONLY)
    os.pwrite(fd, b"\xff" * 4096, (lost - 1) * 4096)
    os.fsync(fd)
    os.close(fd)
    queue = DiskQueue(files)
    queue.read(limit=1000)
    push(queue, "h0")
    push(queue, *(f"i{number}" for number in range(5)))
    queue.close()


def reqids_in(page):
    import re

    return {match.decode() for match in re.findall(rb"v1([a-i]\d+(?:x\d+)?)x", page)}


if __name__ == "__main__":
    main(sys.argv[1])
