"""The demo itself: it exits with 0 only if every step held, and it never hangs."""

import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import threading
import urllib.request

import pytest

TOOLS = pathlib.Path(__file__).resolve().parent.parent / "tools"
GOOD = """
TITLE = "good"
def run(stage):
    with stage.step("counts") as step:
        step.note("three")
        step.table(["n"], [[3]])
        step.check(1 + 2 == 3, "arithmetic")
"""
BAD = """
TITLE = "bad"
def run(stage):
    with stage.step("holds"):
        pass
    with stage.step("does not") as step:
        step.check(False, "three are not four")
"""
BROKEN = """
TITLE = "broken"
def run(stage):
    with stage.step("raises"):
        raise OSError("no disk")
"""
HANGS = """
TITLE = "hangs"
import threading
def run(stage):
    with stage.step("waits for ever"):
        threading.Event().wait()
"""


def demo(folder, *arguments, limit_s=30):
    """Run the demo with the chapters of a folder, in a process of its own."""
    program = (
        "import pathlib, sys, demo;"
        f"demo.CHAPTERS = pathlib.Path({str(folder)!r}); demo.LIMIT_S = {limit_s};"
        f"demo.main({list(arguments)!r})"
    )
    return subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=TOOLS,
    )


@pytest.fixture
def chapters(tmp_path):
    def write(**sources):
        for name, source in sources.items():
            (tmp_path / f"{name}.py").write_text(source)
        return tmp_path

    return write


def test_all_steps_held_is_exit_zero(chapters):
    run = demo(chapters(good=GOOD))
    assert run.returncode == 0, run.stderr
    assert "✓ counts" in run.stdout
    assert "held" in run.stdout


@pytest.mark.parametrize(("source", "reason"), [(BAD, "three are not four"), (BROKEN, "no disk")])
def test_failed_step_is_shown_and_the_other_chapters_still_run(chapters, source, reason):
    run = demo(chapters(a=source, good=GOOD))
    assert run.returncode == 1
    assert reason in run.stdout
    assert "✓ counts" in run.stdout


def test_only_the_chosen_chapter_runs_and_an_unknown_one_is_refused(chapters):
    folder = chapters(bad=BAD, good=GOOD)
    assert demo(folder, "--only", "good").returncode == 0
    run = demo(folder, "--only", "nope")
    assert (run.returncode, "there are: bad, good" in run.stderr) == (2, True)
    assert demo(folder, "--list").stdout == "bad\ngood\n"


def test_hanging_step_ends_the_demo_and_is_named(chapters):
    run = demo(chapters(hangs=HANGS), limit_s=1)
    assert run.returncode == 1
    assert "waits for ever" in run.stderr


def test_no_chapter_at_all_is_a_failure(chapters):
    assert demo(chapters()).returncode == 1


@pytest.mark.timeout(180)
def test_newcomer_sees_live_traffic_of_all_five_clients_on_the_page():
    wanted = {"loudml", "v3io", "ramen", "pylm", "yagna"}
    seen = set()
    with subprocess.Popen(
        [sys.executable, "demo.py", "--console"],
        cwd=TOOLS,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    ) as run:
        try:
            address = re.search(
                r"watch the servers at (http://127.0.0.1:\d+)", run.stdout.readline()
            )
            drain = threading.Thread(target=run.stdout.read)
            drain.start()
            with urllib.request.urlopen(f"{address[1]}/events", timeout=30) as events:
                for line in events:
                    if line.startswith(b"data: "):
                        panels = json.loads(line[6:])["panels"]
                        seen |= {one["name"] for one in panels if one.get("rate") and one["total"]}
                    if seen >= wanted:
                        break
        finally:
            run.send_signal(signal.SIGINT)
            status = run.wait(60)
            drain.join(10)
    assert status == 0
