"""Power failures, simulated: recorded system calls are replayed up to a point, and what was not synced is lost in part.

The model is that of the ALICE study (Pillai et al., OSDI 2014): data of a file is sure once fsync or fdatasync of that
file has returned, names once fsync of their folder has; anything later may be there, not be there, or be there in part
and in any order. At every point the queue must open, hold every message whose push had returned, whole, and go on.

A share of the points by default; ``RAMEN_POWER_LOSS_STEP=1 hatch run tests -k power`` looks at every one.
"""

from __future__ import annotations

import ast
import dataclasses
import os
import pathlib
import random
import re
import shutil
import subprocess
import sys
import zlib

import pytest
from infi.ramen_client.diskqueue import DeadLetters, DiskQueue, QueueFiles

PROGRAM = pathlib.Path(__file__).parent / "trace_program.py"
STEP = int(os.environ.get("RAMEN_POWER_LOSS_STEP", "31"))
BLOCK = 4096

pytestmark = [
    pytest.mark.skipif(shutil.which("strace") is None, reason="strace records the system calls"),
    pytest.mark.timeout(600),
]


@dataclasses.dataclass
class Call:
    name: str
    arguments: list
    result: int


LINE = re.compile(r"^(\w+)\((.*)\)\s+= (-?\d+)")


def parse(line):
    match = LINE.match(line)
    if match is None or match[3] == "-1":
        return None
    name, text, result = match[1], match[2], int(match[3])
    text = re.sub(r"AT_FDCWD", "-100", text)
    text = re.sub(r"\b(?:[A-Z]+_[A-Z_]+\|?)+(?:\|0\d*)?", lambda m: repr(m[0]), text)
    strings = []

    def keep(match):
        strings.append(ast.literal_eval("b" + match[0]))
        return f"@{len(strings) - 1}@"

    text = re.sub(r'"(?:\\x[0-9a-f]{2})*"', keep, text)
    arguments = []
    for part in text.split(", "):
        if match := re.fullmatch(r"@(\d+)@", part):
            arguments.append(strings[int(match[1])])
        elif re.fullmatch(r"-?\d+", part):
            arguments.append(int(part, 8 if len(part) > 1 and part[0] == "0" else 10))
        else:
            arguments.append(part.strip("'"))
    return Call(name, arguments, result)


class Inode:
    """A file: what is sure, and what was written since."""

    def __init__(self):
        self.sure = b""
        self.later = []  # ("write", offset, data) or ("size", length)

    def content(self, later=None):
        data = bytearray(self.sure)
        for kind, at, what in self.later if later is None else later:
            if kind == "size":
                del data[at:]
                data.extend(bytes(at - len(data)))
            else:
                data.extend(bytes(max(0, at - len(data))))
                data[at : at + len(what)] = what
        return bytes(data)

    def sync(self):
        self.sure = self.content()
        self.later = []


class Disk:
    """All files below one folder, as the calls so far have left them."""

    def __init__(self, root):
        self.root = root
        self.names = {}  # path -> Inode, as the program sees it
        self.sure = {}  # the same, as it is after a failure
        self.later = []  # name changes since: (path, Inode or None)
        self.descriptors = {}
        self.marks = []

    def apply(self, call):
        getattr(self, "do_" + call.name, lambda *_: None)(*call.arguments, result=call.result)

    def change(self, path, inode):
        if inode is None:
            self.names.pop(path, None)
        else:
            self.names[path] = inode
        self.later.append((path, inode))

    def inside(self, path):
        path = os.fsdecode(path)
        return path if path.startswith(self.root) else None

    def do_openat(self, _folder, path, flags, *_, result):
        path = self.inside(path)
        if path is None:
            self.descriptors.pop(result, None)
            return
        if "O_DIRECTORY" in str(flags) or (path not in self.names and "O_CREAT" not in str(flags)):
            self.descriptors[result] = path  # a folder
            return
        if path not in self.names:
            self.change(path, Inode())
        inode = self.names[path]
        if "O_TRUNC" in str(flags):
            inode.later.append(("size", 0, None))
        self.descriptors[result] = [inode, 0]

    def do_close(self, fd, result):
        self.descriptors.pop(fd, None)

    def do_pwrite64(self, fd, data, _size, offset, result):
        if isinstance(target := self.descriptors.get(fd), list):
            target[0].later.append(("write", offset, data[:result]))

    def do_write(self, fd, data, _size, result):
        if fd == 1:
            self.marks.append(data.decode().split())
        elif isinstance(target := self.descriptors.get(fd), list):
            target[0].later.append(("write", target[1], data[:result]))
            target[1] += result

    def do_ftruncate(self, fd, size, result):
        if isinstance(target := self.descriptors.get(fd), list):
            target[0].later.append(("size", size, None))

    def do_fallocate(self, fd, _mode, offset, size, result):
        if isinstance(target := self.descriptors.get(fd), list):
            grown = max(len(target[0].content()), offset + size)
            target[0].later.append(("size", grown, None))

    def do_fsync(self, fd, result):
        target = self.descriptors.get(fd)
        if isinstance(target, list):
            target[0].sync()
        elif target is not None:
            folder = target.rstrip("/")
            for path, inode in self.later:
                if os.path.dirname(path) == folder:
                    self.settle(path, inode)
            self.later = [
                (path, inode) for path, inode in self.later if os.path.dirname(path) != folder
            ]

    do_fdatasync = do_fsync

    def settle(self, path, inode):
        if inode is None:
            self.sure.pop(path, None)
        else:
            self.sure[path] = inode

    def do_unlink(self, path, result):
        if path := self.inside(path):
            self.change(path, None)

    def do_rename(self, old, new, result):
        old, new = os.fsdecode(old), os.fsdecode(new)
        if old in self.names:
            inode = self.names[old]
            self.change(new, inode)
            self.change(old, None)

    def do_link(self, old, new, result):
        self.change(os.fsdecode(new), self.names[os.fsdecode(old)])

    def do_mkdir(self, path, _mode, result):
        pass  # folders of a surviving file are made again when an image is written

    def image(self, kind, rng):
        """Return what may be found after a failure now: path -> content."""
        names = dict(self.sure)
        for path, inode in self.later:
            if kind == "all" or (kind != "none" and rng.random() < 0.5):
                if inode is None:
                    names.pop(path, None)
                else:
                    names[path] = inode
        return {
            path: inode.content(self.survivors(inode, kind, rng)) for path, inode in names.items()
        }

    def survivors(self, inode, kind, rng):
        if kind == "none":
            return []
        if kind == "all":
            return None
        kept = []
        for entry in inode.later:
            what, at, data = entry
            if what == "size" or kind == "torn":
                if rng.random() < 0.5 or (kind == "torn" and entry is not inode.later[-1]):
                    kept.append(entry)
                elif what == "write":
                    kept.append((what, at, data[: rng.randrange(len(data) + 1)]))
                continue
            kept.extend(
                (what, at + start, data[start : start + BLOCK])
                for start in range(0, len(data), BLOCK)
                if rng.random() < 0.5
            )
        rng.shuffle(kept)
        return kept


@pytest.fixture(scope="module")
def calls(tmp_path_factory):
    folder = tmp_path_factory.mktemp("traced")
    trace = folder / "trace"
    wanted = (
        "openat,close,pwrite64,write,ftruncate,fallocate,fsync,fdatasync,unlink,rename,link,mkdir"
    )
    command = ["strace", "-o", str(trace), "-xx", "-s", "10000000", "-e", f"trace={wanted}"]
    subprocess.run(
        [*command, sys.executable, PROGRAM, str(folder / "queue")],
        check=True,
        capture_output=True,
        timeout=120,
    )
    lines = trace.read_text("ascii").splitlines()
    return str(folder / "queue"), [call for line in lines if (call := parse(line)) is not None]


def content(reqid):
    return f"{reqid} ".encode() * (1 + len(reqid) * 20)


def look(folder):
    """Open the queue of an image; return its messages, and push one more to see that it works."""
    files = QueueFiles(folder, "imx", 1099)
    queue = DiskQueue(files)
    try:
        rows = queue.read(limit=10_000)
        found = {row["reqid"] for row in rows}
        for row in rows:
            assert zlib.decompress(row["data"]) == content(row["reqid"]), "a message is altered"
        assert len(found) == len(rows), "a message is there twice"
        assert queue.size() == len(rows)
        dead = {row["reqid"] for row in DeadLetters(files).list()}
        queue.push(("m", "t", "v1", "new", zlib.compress(content("new"))))
        assert queue.read(limit=10_000)[-1]["reqid"] == "new"
        assert queue.check() == []
        return found, dead
    finally:
        queue.close()


def test_every_stored_message_survives_a_power_failure_at_any_point(calls, tmp_path):
    root, recorded = calls
    disk = Disk(root)
    looked = 0
    for index, call in enumerate(recorded):
        before = len(disk.marks)
        disk.apply(call)
        changed = call.name not in ("openat", "close") or len(disk.marks) != before
        if not disk.names or not changed or index % STEP:
            continue
        stored, going, dead = set(), set(), set()
        for word, *reqids in disk.marks:
            {"stored": stored, "going": going, "dead": dead}[word].update(reqids)
        for number, kind in enumerate(("none", "some", "torn", "some", "all")):
            rng = random.Random(index * 10 + number)
            image = tmp_path / "image"
            for path, data in disk.image(kind, rng).items():
                if path.endswith(("-shm", ".wake")):
                    continue  # made anew; the index is rebuilt from the log
                target = image / os.path.relpath(path, root)
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(data)
            found, buried = look(image)
            where = f"after call {index} ({call.name}), {kind} of the unsynced data kept"
            assert stored - going <= found, f"lost {where}: {sorted(stored - going - found)}"
            assert dead <= buried, f"dead letter lost {where}"
            if "c0" in going:
                assert "c0" in found | buried, f"refused message lost {where}"
            shutil.rmtree(image, ignore_errors=True)
            looked += 1
    assert looked > 2000 // STEP
    assert {"stored", "going", "dead"} == {mark[0] for mark in disk.marks}
