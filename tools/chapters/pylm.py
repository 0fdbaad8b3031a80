"""pylm: a pipeline with a hub and workers counts the words of a real text; a worker is killed; nothing is lost."""

from __future__ import annotations

import collections
import contextlib
import json
import pathlib
import signal
import tempfile
import threading
import time
from collections.abc import Iterator

from mock_servers.console.pipeline import write_example
from pylm.cluster.check import require_sound
from pylm.cluster.config import Cluster, load
from pylm.cluster.role import make_client
from pylm.cluster.supervise import Supervisor
from pylm.cluster.watch import Watch, draw
from stage import Stage

TITLE = "pylm: count the words of a text on a cluster, kill a worker, draw the topology"

ROOT = pathlib.Path(__file__).resolve().parents[2]


def run(stage: Stage) -> None:
    """Walk through the job of pylm."""
    folder = pathlib.Path(stage.enter(tempfile.TemporaryDirectory(ignore_cleanup_errors=True)))
    pages = sorted(ROOT.glob("packages/*/docs/*.md")) + sorted(ROOT.glob("packages/*/README.md"))
    paragraphs = [
        text.encode()
        for page in pages
        for text in page.read_text("utf-8").split("\n\n")
        if text.strip()
    ]

    with stage.step("Check the cluster file and start its processes") as step:
        path, _ = write_example(folder, workers=3, work_s=0.002)
        cluster = load(path)
        require_sound(cluster)
        supervisor = stage.enter(supervised(cluster))
        stage.show_cluster("pylm", path)
        client = stage.enter(make_client(cluster, "clean", "crew", timeout=30.0, logging_level=30))
        route = ["clean.lower", "crew.words"]
        first = json.loads(client.eval(route, b"one two two", idempotent=True))
        step.note(f"{len(cluster.instances())} processes")
        step.check(first == {"one": 1, "two": 2}, f"the cluster counts {first}")

    with stage.step(
        f"Count the words of {len(paragraphs):,} paragraphs; kill a worker half-way"
    ) as step:
        watch = Watch(cluster, timeout_s=5.0)
        watch.read()
        total: collections.Counter[str] = collections.Counter()
        answers = client.map(route, paragraphs, idempotent=True)
        for number, answer in enumerate(answers):
            if number == len(paragraphs) // 2:
                process = supervisor.children["crew-worker-2"].process
                assert process is not None
                process.kill()
                step.note(f"killed crew-worker-2 after {number:,} answers")
                picture = draw(cluster, watch.read())
            total.update(json.loads(answer))
            step.progress(number + 1, len(paragraphs))
        step.table(["word", "times"], [list(pair) for pair in total.most_common(5)])
        step.check(total == expected(paragraphs), "the counts are not those of one process")

    with stage.step("Every message is accounted for; draw the topology") as step:
        figures = {each.name: each.figures for each in Watch(cluster, timeout_s=5.0).read()}
        hub = figures["crew"]
        step.note(
            f"the hub answered {hub['answered']:,}, ran {hub['requeued']} again, dropped {hub['dropped']}"
        )
        step.check(hub["dropped"] == 0, "the hub dropped answers")
        target = pathlib.Path(tempfile.gettempdir(), "pylm-words.svg")
        target.write_text(picture, "utf-8")
        step.note(f"picture: {target}")
        step.check("3 workers" in picture, "the picture has no workers")

    with stage.step("The supervisor brings the killed worker back") as step:
        deadline = time.monotonic() + 15
        while not supervisor.children["crew-worker-2"].restarts and time.monotonic() < deadline:
            time.sleep(0.05)
        step.check(supervisor.children["crew-worker-2"].restarts, "it was not restarted")


def expected(paragraphs: list[bytes]) -> collections.Counter[str]:
    """Return the counts one process comes to."""
    import re

    total: collections.Counter[str] = collections.Counter()
    for text in paragraphs:
        total.update(re.sub(r"[^a-z\n ]+", " ", text.decode().lower()).split())
    return total


@contextlib.contextmanager
def supervised(cluster: Cluster) -> Iterator[Supervisor]:
    """Run a cluster in the background; what is in flight at the end is given up."""
    supervisor = Supervisor(cluster, lambda line: None)
    thread = threading.Thread(target=supervisor.run, name="pylm-supervisor")
    thread.start()
    try:
        yield supervisor
    finally:
        for child in supervisor.children.values():  # SIGTERM, as the supervisor sends, would drain
            if child.process is not None:
                child.process.send_signal(signal.SIGINT)
        supervisor.stop()
        thread.join()
