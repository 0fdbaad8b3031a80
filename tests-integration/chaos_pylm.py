"""The part of the chaos suite that has no HTTP: pylm jobs on a master and workers that are killed.

The client reaches the master through one fault proxy for each of its three sockets, one of the three workers is
connected as an original's is, through two more, and the others by the acknowledged channel, through a sixth. A seeded
generator kills, pauses and restarts master and workers and cuts, slows, half-opens and blinds the proxies. Two
workloads go on meanwhile: jobs that may run again, in batches, and single jobs that must not.
"""

import collections
import contextlib
import logging
import pathlib
import random
import signal
import socket
import subprocess
import sys
import threading
import time

import zmq
from chaos_tasks import Task
from mock_servers.proxy import Conditions, FaultProxy
from pylm.clients import Client
from pylm.errors import PylmError

ROLES = pathlib.Path(__file__).with_name("pylm_roles.py")
BATCH = 20
BATCH_LIMIT_S = 20.0  # of silence; a fault lasts less than a second, a start of a process on a busy machine some
CALL_LIMIT_S = 2.0
SLACK_S = 1.5


def free_ports(count):
    """Return so many free ports below those that the system gives to connections, so that they stay free."""
    ports = []
    while len(ports) < count:
        port = random.randint(20000, 32000)
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            ports.append(port)
    return ports


class Crew(Task):
    """Jobs for a cluster that is being broken; ``check`` compares answers with executions.

    Args:
        folder: Where workers write down what they execute.
        seed: Of the faults.
    """

    def __init__(self, folder, seed):
        super().__init__()
        self._log = folder / "pylm-executions"
        self._random = random.Random(seed)
        # in the order of the constructor of a master: pull, pub, workers' pull and push, db
        *ports, router = free_ports(6)
        self._addresses = [f"tcp://127.0.0.1:{port}" for port in ports]
        self._router = f"tcp://127.0.0.1:{router}"
        self._commands = {}
        self._processes = {}
        pull, publish, worker_pull, worker_push, db = ports
        upstreams = (db, pull, publish, worker_push, worker_pull, router)
        self._proxies = [FaultProxy(f"127.0.0.1:{port}", seed=seed) for port in upstreams]
        self._context = zmq.Context()
        self._client = None
        self._workloads = [
            threading.Thread(target=self._guarded, args=(work,), name=f"pylm-{work.__name__}")
            for work in (self._repeatable, self._once)
        ]
        self.done = collections.Counter()
        self.batches = 0
        self.wrong = []
        self.acknowledged = []
        self.attempts = 0
        self.slowest_s = 0.0
        self.errors = collections.Counter()

    def start(self):
        """Bring the cluster up, then begin to work and to break."""
        proxied = [f"tcp://{proxy.start().address}" for proxy in self._proxies]
        log, db = str(self._log), self._addresses[-1]
        self._commands = {
            "master": ("master", log, self._router, *self._addresses),
            "worker-1": ("worker", log, proxied[5], db),
            "worker-2": ("worker", log, proxied[5], db),
            "worker-3": ("worker", log, proxied[5], db, *proxied[3:5]),
        }
        for name in self._commands:
            self._run(name)
        self._client = Client(
            "crew", *proxied[:3], timeout=20, logging_level=logging.CRITICAL, context=self._context
        )
        self._client.eval("crew.keep", b"warm-up", idempotent=True)
        for thread in self._workloads:
            thread.start()
        super().start()

    def _run(self, name):
        command = [sys.executable, str(ROLES), *self._commands[name]]
        self._processes[name] = subprocess.Popen(command, stdin=subprocess.DEVNULL)

    # What breaks -------------------------------------------------------------------------------------------------

    def step(self):
        """Break one thing for a short while."""
        action = self._random.choice([
            self._kill, self._kill, self._pause, self._cut, self._slow, self._stall, self._half_open, self._refuse,
        ])  # fmt: skip
        self.done[action.__name__.strip("_")] += 1
        action(self._random.choice(sorted(self._processes)), self._random.choice(self._proxies))
        self.ending.wait(self._random.uniform(0.1, 0.6))

    def _for_a_while(self, longest_s):
        self.ending.wait(self._random.uniform(0.05, longest_s))

    def _kill(self, name, proxy):
        self._processes[name].kill()
        self._processes[name].wait()
        self._for_a_while(0.5)
        self._run(name)

    def _pause(self, name, proxy):
        process = self._processes[name]
        process.send_signal(signal.SIGSTOP)
        self._for_a_while(1.0)  # beyond three heartbeats at times
        process.send_signal(signal.SIGCONT)

    def _cut(self, name, proxy):
        proxy.cut(reset=self._random.random() < 0.7)

    def _slow(self, name, proxy):
        proxy.up = Conditions(latency_s=self._random.uniform(0, 0.1), jitter_s=0.05)
        proxy.down = Conditions(bandwidth_bytes_s=self._random.choice([20_000, 1_000_000]))
        self._for_a_while(0.6)
        proxy.up = proxy.down = Conditions()

    def _stall(self, name, proxy):
        proxy.up = Conditions(blackhole=self._random.random() < 0.5)
        proxy.down = Conditions(blackhole=True)
        self._for_a_while(0.5)
        proxy.up = proxy.down = Conditions()
        proxy.cut()

    def _half_open(self, name, proxy):
        proxy.half_open()
        self._for_a_while(0.3)
        proxy.cut()

    def _refuse(self, name, proxy):
        proxy.refuse()
        proxy.cut()
        self._for_a_while(0.4)
        proxy.accept()

    # What works --------------------------------------------------------------------------------------------------

    def _guarded(self, work):
        try:
            number = 0
            while not self.ending.is_set():
                number += 1
                work(number)
                self.ending.wait(0.003)
        except BaseException as error:
            self.failure = error

    def _repeatable(self, number):
        """Run a batch of jobs that may be executed again; every one must be answered, and answered once."""
        jobs = [b"repeatable-%d-%d" % (number, index) for index in range(BATCH)]
        answers = []
        try:
            answers.extend(
                self._client.map(
                    "crew.keep", jobs, idempotent=True, ordered=False, timeout=BATCH_LIMIT_S
                )
            )
        except PylmError as error:
            self.wrong.append(f"batch {number}: {error!r}")
        if sorted(answers) != sorted(jobs):
            self.wrong.append(
                f"batch {number}: {len(answers)} answers, {len(set(answers))} different"
            )
        self.batches += 1

    def _once(self, number):
        """Run one job that must not be executed twice; an error is allowed, in time."""
        job = b"once-%d" % number
        self.attempts = number
        began = time.monotonic()
        try:
            if self._client.eval("crew.keep", job, timeout=CALL_LIMIT_S) != job:
                self.wrong.append(f"{job.decode()} has another one's answer")
        except PylmError as error:
            self.errors[type(error).__name__] += 1
        else:
            self.acknowledged.append(job)
        self.slowest_s = max(self.slowest_s, time.monotonic() - began)

    # The end -----------------------------------------------------------------------------------------------------

    def stop(self):
        """End faults, then work; a batch that was begun must still come to its end."""
        self.ending.set()
        self.join()
        for proxy in self._proxies:
            proxy.up = proxy.down = Conditions()
        for thread in self._workloads:
            thread.join(BATCH_LIMIT_S * 2)
        if self.failure is not None:
            raise self.failure

    def close(self):
        """End the processes and release the sockets."""
        if self._client is not None:
            self._client.close()
        self._context.destroy(linger=0)
        for process in self._processes.values():
            process.kill()
            process.wait()
        for proxy in self._proxies:
            proxy.stop()

    def check(self):
        """Return a line for every promise that was broken."""
        executed = collections.Counter(self._log.read_bytes().split())
        broken = [f"pylm: {line}" for line in self.wrong[:5]]
        twice = [job for job, times in executed.items() if times > 1 and job.startswith(b"once")]
        never = [job for job in self.acknowledged if not executed[job]]
        limit_s = CALL_LIMIT_S + SLACK_S
        for fails, text in (
            (twice, f"pylm: not to be repeated, and executed twice: {twice[:5]}"),
            (never, f"pylm: answered and never executed: {never[:5]}"),
            (self.slowest_s > limit_s, f"pylm: a call took {self.slowest_s:.1f} s"),
            (not self.batches, "pylm: no batch was answered"),
            (not self.acknowledged, "pylm: no single job succeeded"),
        ):
            if fails:
                broken.append(text)
        return broken

    def report(self):
        """Return what happened, in a line."""
        return (
            f"pylm {dict(self.done)}: {self.batches} batches of {BATCH}, {len(self.acknowledged)} of {self.attempts} "
            f"single jobs, slowest {self.slowest_s:.1f} s, {dict(self.errors)}"
        )
