"""The demo itself: it exits with 0 only if every step held, and it never hangs."""

import itertools
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
WORKS = """
TITLE = "works"
import pathlib, tempfile, time
def run(stage):
    folder = stage.enter(tempfile.TemporaryDirectory())
    with stage.step("prepares") as step:
        step.note(f"folder {folder} end; begun")
    with stage.step("works") as step:
        end = time.monotonic() + LONG
        while time.monotonic() < end:
            step.progress(1, 2)
            time.sleep(0.01)
"""
MEETS = """
TITLE = "meets"
import pathlib, time
HERE = pathlib.Path(__file__)
def run(stage):
    again = HERE.with_suffix(".ran").exists()
    HERE.with_suffix(".ran").touch()
    with stage.step("meets the other one") as step:
        while again and not HERE.with_name("OTHER.waits").exists():
            HERE.with_suffix(".waits").touch()
            step.progress(0, 1)
            time.sleep(0.01)
        if again:
            HERE.with_suffix(".waits").touch()
"""
HANGS = """
TITLE = "hangs"
import threading
def run(stage):
    with stage.step("waits for ever"):
        threading.Event().wait()
"""


def command(folder, *arguments, limit_s=30):
    """Return what runs the demo with the chapters of a folder, in a process of its own."""
    program = (
        "import pathlib, sys, demo;"
        f"demo.CHAPTERS = pathlib.Path({str(folder)!r}); demo.LIMIT_S = {limit_s};"
        f"demo.main({list(arguments)!r})"
    )
    return [sys.executable, "-u", "-c", program]


def demo(folder, *arguments, limit_s=30):
    return subprocess.run(
        command(folder, *arguments, limit_s=limit_s),
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


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize(
    ("arguments", "marker", "status"),
    [
        ([], "begun", 130),
        (["--console"], "begun", 0),
        (["--console"], "Ctrl-C stops", 0),
        (["--keep"], "Ctrl-C stops", 0),
    ],
    ids=["first round", "first round of the page", "page", "kept"],
)
def test_interrupted_demo_says_one_line_and_leaves_nothing(
    chapters, arguments, marker, status, number
):
    folder = chapters(works=WORKS.replace("LONG", "60" if marker == "begun" else "0.01"))
    with subprocess.Popen(
        command(folder, *arguments),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=TOOLS,
    ) as run:
        said = ""
        while marker not in said:
            line = run.stdout.readline()
            assert line, said
            said += line
        run.send_signal(number)
        rest = run.stdout.read()
        assert run.wait(30) == status, rest
    assert "Traceback" not in rest
    assert rest.rstrip().endswith("stopped")
    kept = pathlib.Path(re.search("folder (.*) end", said)[1])
    assert not kept.exists()


def test_chapters_of_the_page_run_at_the_same_time_until_interrupted(chapters):
    folder = chapters(a=MEETS.replace("OTHER", "b"), b=MEETS.replace("OTHER", "a"))
    with subprocess.Popen(
        command(folder, "--console"),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=TOOLS,
    ) as run:
        met = itertools.islice((line for line in run.stdout if " steps in " in line), 2)
        assert all("1 steps" in line and "held" in line for line in met)
        run.send_signal(signal.SIGINT)
        run.stdout.read()
        assert run.wait(30) == 0


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
