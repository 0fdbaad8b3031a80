"""The process that runs one activity: starts commands, reaches their ports, and leaves nothing behind.

Started by ``runtime.ExeUnit`` as ``python -I exeunit.py``, one per activity; standard library only, so that it
starts in milliseconds. Commands run in a network namespace of their own where the system allows it. The process is
the *child subreaper* of everything it starts: daemonised grandchildren come back to it. When its control socket
closes - also because the server was killed with SIGKILL - it kills all its descendants and ends.

Protocol: one JSON object a line on the inherited control socket, ``{"id", "method", "params"}``, answered by
``{"id", "result"}`` or ``{"id", "error"}`` and, while a command runs, ``{"id", "output": [stream, text]}``.
Connected TCP sockets are passed on the inherited datagram socket as the request's id with the descriptor attached.
"""

from __future__ import annotations

import array
import contextlib
import ctypes
import fcntl
import json
import os
import pathlib
import re
import resource
import select
import shutil
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from typing import Any, BinaryIO

CLONE_NEWUSER, CLONE_NEWNET = 0x10000000, 0x40000000
PR_SET_CHILD_SUBREAPER = 36
SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP = 0x8913, 0x8914, 0x1
EOF_GRACE_S = 0.3
CONNECT_RETRY_S = 0.01
VOLUMES = ("golem/work", "golem/run", "golem/input", "golem/output", "golem/resource", "tmp")
_PATHS = re.compile(r"(?<![\w./-])((?:[a-z+]+://)?)(/(?:golem|tmp/[^/\s\"';]+)(?![\w.-]))")
_BIND = re.compile(r"\b0\.0\.0\.0:(\d+)\b")


def enter_network_namespace() -> bool:
    """Move this process into a new network namespace with only loopback; return whether it worked.

    Tried with the privileges at hand first, then through a user namespace. Must run before any thread starts.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    uid, gid = os.getuid(), os.getgid()
    if libc.unshare(CLONE_NEWNET) != 0:
        if libc.unshare(CLONE_NEWUSER | CLONE_NEWNET) != 0:
            return False
        pathlib.Path("/proc/self/setgroups").write_text("deny")
        pathlib.Path("/proc/self/uid_map").write_text(f"0 {uid} 1")
        pathlib.Path("/proc/self/gid_map").write_text(f"0 {gid} 1")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        request = fcntl.ioctl(control, SIOCGIFFLAGS, struct.pack("16sh22x", b"lo", 0))
        flags = struct.unpack("16sh22x", request)[1]
        fcntl.ioctl(control, SIOCSIFFLAGS, struct.pack("16sh22x", b"lo", flags | IFF_UP))
    return True


def parents() -> dict[int, tuple[int, str]]:
    """Return process id -> (parent's id, state letter) of every process visible in /proc."""
    found: dict[int, tuple[int, str]] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            with contextlib.suppress(OSError, ValueError, IndexError):
                text = pathlib.Path(f"/proc/{entry}/stat").read_text()
                fields = text[text.rindex(")") + 2 :].split()
                found[int(entry)] = (int(fields[1]), fields[0])
    return found


def descendants(root: int) -> dict[int, str]:
    """Return process id -> state letter of every living or dead-but-unreaped descendant of ``root``."""
    table = parents()
    family: dict[int, str] = {}
    frontier = {root}
    while frontier:
        frontier = {pid for pid, (parent, _) in table.items() if parent in frontier} - family.keys()
        family.update({pid: table[pid][1] for pid in frontier})
    return family


class ExeUnit:
    """Serves one activity's requests until its control socket closes. Each request has a thread of its own."""

    def __init__(
        self, settings: dict[str, Any], control: socket.socket, passing: socket.socket
    ) -> None:
        self.root = pathlib.Path(settings["root"])
        self.image = settings["image"]
        self.environment = dict(settings["environment"])
        self.isolated = settings["isolation"] != "ports" and enter_network_namespace()
        if settings["isolation"] == "netns" and not self.isolated:
            raise OSError("this system allows no network namespace; use isolation 'ports'")
        self.ports: dict[int, int] = {}
        self.control, self.passing = control, passing
        self._write = threading.Lock()
        self._running: set[int] = set()
        self.started_at = time.monotonic()

    def serve(self) -> None:
        """Answer requests until the other end goes away, then kill everything."""
        buffer = b""
        while True:
            readable, _, _ = select.select([self.control], [], [], 1.0)
            self.reap()
            if not readable:
                continue
            try:
                chunk = self.control.recv(1 << 16)
            except ConnectionResetError:  # the server had not read all our answers
                break
            if not chunk:
                break
            *lines, buffer = (buffer + chunk).split(b"\n")
            for line in lines:
                threading.Thread(target=self._answer, args=(json.loads(line),), daemon=True).start()
        self.kill({})

    def _answer(self, request: dict[str, Any]) -> None:
        try:
            method = getattr(self, request["method"])
            params = request["params"]
            if request["method"] in ("run", "connect"):
                params = {**params, "id": request["id"]}
            answer = {"id": request["id"], "result": method(params)}
        except Exception as error:  # every failure must reach the server as an answer
            answer = {"id": request["id"], "error": str(error), "kind": type(error).__name__}
        self._send(answer)

    def _send(self, message: dict[str, Any]) -> None:
        with self._write, contextlib.suppress(OSError):
            self.control.sendall(json.dumps(message).encode() + b"\n")

    # requests ----------------------------------------------------------------------------------------------------

    def deploy(self, params: dict[str, Any]) -> dict[str, Any]:
        """Lay out the activity's root: a copy of the image plus the conventional volumes."""
        if self.image:
            shutil.copytree(self.image, self.root, symlinks=True, dirs_exist_ok=True)
        for volume in VOLUMES:
            (self.root / volume).mkdir(parents=True, exist_ok=True)
        return {"isolated": self.isolated}

    def run(self, params: dict[str, Any]) -> dict[str, Any]:
        """Run one command to its end; daemonised children go on."""
        environment = self._command_environment()
        program = self.translate(params["entry_point"])
        if program.startswith("/") and not os.path.exists(program):
            # an image of files alone takes its programs from the server's own environment
            program = shutil.which(os.path.basename(program), path=environment["PATH"]) or program
        command = [program, *map(self.translate, params["args"])]
        process = subprocess.Popen(
            command,
            cwd=self.root / "golem/work",
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        self._running.add(process.pid)
        assert process.stdout is not None
        assert process.stderr is not None
        readers = [
            threading.Thread(target=self._forward, args=(params["id"], name, pipe), daemon=True)
            for name, pipe in (("stdout", process.stdout), ("stderr", process.stderr))
        ]
        for reader in readers:
            reader.start()
        code = process.wait()
        self._running.discard(process.pid)
        deadline = time.monotonic() + EOF_GRACE_S  # a daemonised child may hold the pipes for ever
        for reader in readers:
            reader.join(max(0.0, deadline - time.monotonic()))
        return {"code": code}

    def _forward(self, identifier: int, name: str, pipe: BinaryIO) -> None:
        while chunk := os.read(pipe.fileno(), 1 << 16):
            self._send({"id": identifier, "output": [name, chunk.decode(errors="replace")]})
        pipe.close()

    def path(self, params: dict[str, Any]) -> str:
        """Return where a path of the container lies on this machine."""
        absolute = os.path.normpath("/" + params["path"])
        return str(self.root / absolute.lstrip("/"))

    def connect(self, params: dict[str, Any]) -> None:
        """Connect to a port of the activity and pass the socket to the server.

        Raises:
            OSError: Nothing listens there, or it did not accept within ``timeout_s``.
        """
        port = int(params["port"])
        if not self.isolated:
            port = self.ports.get(port, 0)
        if not port:
            raise ConnectionRefusedError(
                f"no command of this activity was told to listen on {params['port']}"
            )
        with socket.create_connection(("127.0.0.1", port), params["timeout_s"]) as connection:
            connection.setblocking(False)
            descriptors = array.array("i", [connection.fileno()])
            self.passing.sendmsg(
                [str(params["id"]).encode()],
                [(socket.SOL_SOCKET, socket.SCM_RIGHTS, descriptors)],
            )

    def usage(self, params: dict[str, Any]) -> dict[str, float]:
        """Return seconds since the start and processor seconds used so far."""
        children = resource.getrusage(resource.RUSAGE_CHILDREN)
        processor = children.ru_utime + children.ru_stime
        tick = os.sysconf("SC_CLK_TCK")
        for pid in descendants(os.getpid()):
            with contextlib.suppress(OSError, ValueError, IndexError):
                text = pathlib.Path(f"/proc/{pid}/stat").read_text()
                fields = text[text.rindex(")") + 2 :].split()
                processor += (int(fields[11]) + int(fields[12])) / tick
        return {"duration_s": time.monotonic() - self.started_at, "cpu_s": processor}

    def signal(self, params: dict[str, Any]) -> int:
        """Send a signal to every descendant; return how many there were."""
        family = descendants(os.getpid())
        for pid in family:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, int(params["number"]))
        return len(family)

    def processes(self, params: dict[str, Any]) -> list[int]:
        """Return the ids of all living descendants."""
        return sorted(pid for pid, state in descendants(os.getpid()).items() if state != "Z")

    def kill(self, params: dict[str, Any]) -> None:
        """Kill every descendant, however it daemonised, and reap it."""
        while family := descendants(os.getpid()):
            for pid, state in family.items():
                if state != "Z":
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
            self.reap()
            if all(state == "Z" for state in family.values()):
                break
            time.sleep(0.002)

    # support -----------------------------------------------------------------------------------------------------

    def translate(self, word: str) -> str:
        """Rewrite one word of a command: paths of the container, and bind addresses without a namespace."""
        if word.startswith("/") and (inside := self.root / word.lstrip("/")).is_file():
            return str(inside)
        word = _PATHS.sub(self._inside, word)
        return word if self.isolated else _BIND.sub(self._rebind, word)

    def _inside(self, match: re.Match[str]) -> str:
        # a path below /tmp that exists on this machine is the machine's: interpreters may live there
        return match[0] if os.path.exists(match[2]) else f"{match[1]}{self.root}{match[2]}"

    def _rebind(self, match: re.Match[str]) -> str:
        port = int(match[1])
        if port not in self.ports:
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", 0))
                self.ports[port] = probe.getsockname()[1]
        return f"127.0.0.1:{self.ports[port]}"

    def _command_environment(self) -> dict[str, str]:
        inside = [
            str(self.root / folder) for folder in ("usr/local/bin", "usr/bin", "bin", "golem/run")
        ]
        inside.append(os.path.dirname(sys.executable))
        path = os.pathsep.join([*inside, os.environ.get("PATH", os.defpath)])
        ports = {f"GOLEM_PORT_{port}": str(actual) for port, actual in self.ports.items()}
        return {
            **self.environment,
            "PATH": path,
            "HOME": str(self.root),
            "TMPDIR": str(self.root / "tmp"),
            **ports,
        }

    def reap(self) -> None:
        """Collect the exit status of adopted children, not of commands that ``run`` still waits for."""
        for pid, (parent, state) in parents().items():
            if parent == os.getpid() and state == "Z" and pid not in self._running:
                with contextlib.suppress(ChildProcessError):
                    os.waitpid(pid, os.WNOHANG)


def main() -> None:
    """Run the exe-unit with the settings given as the first argument, JSON."""
    signal.signal(
        signal.SIGINT, signal.SIG_IGN
    )  # Ctrl-C is for the server, which then closes our socket
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    settings = json.loads(sys.argv[1])
    control = socket.socket(fileno=settings["control"])
    passing = socket.socket(fileno=settings["passing"])
    control.set_inheritable(False)
    passing.set_inheritable(False)
    unit = ExeUnit(settings, control, passing)
    control.sendall(json.dumps({"id": 0, "result": {"isolated": unit.isolated}}).encode() + b"\n")
    unit.serve()


if __name__ == "__main__":
    main()
