import pathlib
import sys
import xml.etree.ElementTree

import pytest

TOOLS = pathlib.Path(__file__).parent.parent

MEASURED = {
    "transport": [
        {
            "title": "GET",
            "rows": [
                {"name": "floor", "wall": 1.0, "cpu": 1.0, "wall_us": 50.0, "spread": [1.0, 1.0]},
                {"name": "ours", "wall": 1.5, "cpu": None, "wall_us": 75.0, "spread": [1.4, 1.6]},
            ],
            "bars": [
                {"subject": "ours", "figure": "wall", "limit": 1.4},
                {"subject": "gone", "figure": "wall", "limit": 1.0},
            ],
            "figures": [],
        }
    ],
    "ramen": [
        {
            "title": "queue",
            "rows": [],
            "bars": [],
            "figures": [
                {"what": "push", "value": "0.83x", "bar": "<= 1.15x", "holds": True, "others": {"original": "3x"}},
                {"what": "rate", "value": "20x", "bar": ">= 10x", "holds": True, "others": {}},
                {"what": "lost | found", "value": "0", "bar": "<= 0", "holds": True, "others": {}},
            ],
        }
    ],
}  # fmt: skip


@pytest.fixture
def bench(tool, monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(str(TOOLS))
    module = tool("bench")
    for name in ("FOLDER", "RESULTS", "CHART", "README"):
        value = getattr(module, name)
        monkeypatch.setattr(module, name, tmp_path / value.relative_to(module.ROOT))
    monkeypatch.setattr(module, "ROOT", tmp_path)
    module.FOLDER.mkdir(parents=True)
    module.README.write_text(f"before\n{module.BEGIN}\nold\n{module.END}\nafter\n")
    return module


SCRIPT = """
import json, os, sys
with open(os.environ["BENCHMARK_RESULTS"], "a") as file:
    file.write(json.dumps({table!r}) + "\\n")
sys.exit({missed} and "--gate" in sys.argv)
"""


def write(bench, name, table, *, missed):
    (bench.FOLDER / f"{name}.py").write_text(SCRIPT.format(table=table, missed=missed))


def test_every_promise_is_in_the_first_table_with_its_verdict(bench):
    page = bench.markdown(MEASURED, ["v3io"])
    assert "| transport | GET: ours, wall | 1.50 | &lt;= 1.40 | **missed** |" in page
    assert "| transport | GET: gone, wall | not measured | &lt;= 1.00 | **missed** |" in page
    assert "| ramen | queue: push | 0.83x | &lt;= 1.15x | held |" in page
    assert "lost \\| found" in page
    assert "| push | 0.83x | 3x |" in page
    assert "| ours | 1.50 | 1.40-1.60 |  | 75.0 |" in page
    assert "`v3io` broke off" in page


def test_chart_is_svg_and_marks_what_missed(bench):
    root = xml.etree.ElementTree.fromstring(bench.chart(MEASURED))
    bars = [one.get("fill") for one in root.iter("{http://www.w3.org/2000/svg}rect")][1:]
    assert bars == ["#9ca3af", "#dc2626", "#2563eb", "#2563eb"]
    text = "".join(root.itertext())
    assert "20x (>= 10x)" in text
    assert "lost | found" not in text  # no share of nothing


def test_missed_bar_fails_only_the_gate_and_is_written_both_times(bench, monkeypatch, capsys):
    write(bench, "one", MEASURED["transport"][0], missed=True)
    for arguments, status in ((["bench.py"], 0), (["bench.py", "--gate"], 1)):
        monkeypatch.setattr(sys, "argv", arguments)
        bench.RESULTS.unlink(missing_ok=True)
        assert bench.main() == status
        assert "**missed**" in bench.RESULTS.read_text()
        assert bench.CHART.exists()
    assert "missed: one: GET: ours, wall: 1.50, <= 1.40" in capsys.readouterr().out
    text = bench.README.read_text()
    assert text.startswith("before\n")
    assert text.endswith("\nafter\n")
    assert "0 of 2 speed promises held" in text
    assert "(tools/benchmarks/RESULTS.md)" in text
    assert "old" not in text


def test_benchmark_that_breaks_off_fails_and_the_others_are_written(bench, monkeypatch):
    write(bench, "one", MEASURED["ramen"][0], missed=False)
    (bench.FOLDER / "two.py").write_text('"--gate"\nraise SystemExit(3)\n')
    monkeypatch.setattr(sys, "argv", ["bench.py"])
    assert bench.main() == 1
    page = bench.RESULTS.read_text()
    assert "`two` broke off" in page
    assert "queue: push" in page


def test_every_benchmark_is_found_and_those_of_another_environment_are_known(tool, monkeypatch):
    monkeypatch.syspath_prepend(str(TOOLS))
    module = tool("bench")
    assert module.names() == ["loudml", "pylm", "ramen", "transport", "v3io", "ya_httpx"]
    assert module.ENVIRONMENTS == {"ya_httpx": "golem"}
