"""Dates, durations and tables as people read and write them, and random test data."""

import asyncio
import gc
import itertools
import random
from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st
from loudml import ImproperlyConfigured, Loud, misc, nab, randevents, shapes, wave

UTC = timezone.utc
RESULT = {
    "timestamps": [1.0, 61.0, 121.0],
    "observed": {"f": [1.0, None, 0], "g": [1.23456, 2, 3]},
    "predicted": {"f": [1.5, 2, 3], "lower_f": [1, 2, 3], "upper_f": [2, 3, 4]},
    "stats": [
        {"score": 100.0, "anomaly": True},
        {"score": 1, "anomaly": False},
        {"score": 33.333, "anomaly": False},
    ],
}


@pytest.mark.parametrize(
    ("addr", "parts"),
    [
        ("h:1", ("h", 1)),
        (":5", ("localhost", 5)),
        ("h", ("h", 9)),
        ("[::1]:5", ("::1", 5)),
        ("[::1]", ("::1", 9)),
    ],
)
def test_addresses(addr, parts):
    assert misc.parse_addr(addr, default_port=9) == dict(zip(("host", "port"), parts, strict=True))
    with pytest.raises(ValueError, match="expected host:port"):
        misc.parse_addr("h:x")


def test_constraints():
    parsed = {"feature": "f", "type": "low", "threshold": 3.0}
    assert misc.parse_constraint("f:low:3") == parsed
    for text, message in (
        ("f:low", "invalid format"),
        ("a:b:low:3", "invalid format"),
        ("f:mid:3", "invalid threshold type"),
        ("f:low:x", "invalid threshold for"),
    ):
        with pytest.raises(ImproperlyConfigured, match=message):
            misc.parse_constraint(text)


@pytest.mark.parametrize(
    ("delta", "seconds"),
    [
        (5, 5),
        ("5", 5),
        ("10s", 10),
        ("1m", 60),
        ("2h", 7200),
        ("3d", 3 * 86400),
        ("1w", 7 * 86400),
        ("1M", 30 * 86400),
        ("1y", 365 * 86400),
        ("-5m", -300),
        ("+3s", 3),
        ("1.5h", 5400),
        (0, 0),
    ],
)
def test_durations(delta, seconds):
    assert misc.parse_timedelta(delta) == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    ("delta", "limits", "message"),
    [
        ("x", {}, "invalid time delta value"),
        ("", {}, "invalid time delta value"),
        (None, {}, "invalid time delta value"),
        ("5x", {}, "invalid time delta unit"),
        ("1s", {"min": 2}, ">= 2 seconds"),
        ("2s", {"min": 2, "min_included": False}, "> 2 seconds"),
        ("1m", {"max": 30}, "<= 30 seconds"),
        ("2s", {"max": 2, "max_included": False}, "< 2 seconds"),
    ],
)
def test_durations_that_are_none_or_out_of_bounds(delta, limits, message):
    with pytest.raises(ImproperlyConfigured, match=message):
        misc.parse_timedelta(delta, **limits)


def test_bounds_are_compared_in_seconds():
    assert misc.parse_timedelta("1m", min=2) == timedelta(minutes=1)


def test_dates():
    assert misc.ts_to_datetime(1.5) == datetime(1970, 1, 1, 0, 0, 1, 500000, tzinfo=UTC)
    assert misc.ts_to_str(1.9996) == "1970-01-01T00:00:01.999Z"
    assert misc.make_ts("1.5") == misc.make_ts(1.5) == 1.5
    assert misc.make_ts("2020-01-01T00:00:00Z") == misc.str_to_ts("2020-01-01T00:00:00Z")
    assert misc.str_to_ts("2020-01-01T02:00:00+02:00") == 1577836800
    assert misc.make_datetime("1.5") == misc.ts_to_datetime(1.5)
    assert misc.make_datetime("2020-01-01") == datetime(2020, 1, 1)
    yesterday = datetime.now() - timedelta(days=1)
    assert abs(misc.str_to_datetime("now-1d") - yesterday) < timedelta(seconds=10)
    assert abs(misc.str_to_datetime("now") - datetime.now()) < timedelta(seconds=10)
    with pytest.raises(ValueError):
        misc.str_to_datetime("never")
    with pytest.raises(ImproperlyConfigured):
        misc.str_to_datetime("now+1x")


@given(st.integers(0, 4_000_000_000_000))
def test_dates_come_back_from_text(milliseconds):
    text = misc.ts_to_str(milliseconds / 1000)
    assert abs(misc.str_to_ts(text) - milliseconds / 1000) <= 0.001


def test_table_of_a_prediction():
    assert list(misc.format_buckets(RESULT)) == [
        "timestamp      @f             @g             loudml.f       ",
        "1.0            1.             1.235          1.5 [* 100.0]  ",
        "61.0           None           2.             2. [ 1.0]      ",
        "121.0          0.             3.             3. [ 33.3]     ",
    ]
    without_stats = {**RESULT, "stats": None}
    assert list(misc.format_buckets(without_stats))[1].split() == ["1.0", "1.", "1.235", "1.5"]
    assert list(misc.format_buckets({"timestamps": [], "observed": {}})) == ["timestamp  "]


def test_table_of_points():
    points = [{"timestamp": 1, "a": 2, "tags": {"x": "y", "z": "w"}}, {"timestamp": 2, "b": 2.5}]
    assert list(misc.format_points(points)) == [
        "timestamp  a          b          tags       ",
        "1          2.                    x=y,z=w    ",
        "2                     2.5                   ",
    ]


def test_tables_of_versions_and_jobs():
    versions = [
        {"version": {"name": "00", "active": True}, "state": {"loss": 0.1, "trained": True}},
        {"version": {"name": "01"}},
    ]
    assert [line.split() for line in misc.format_model_versions(versions)] == [
        ["version", "active", "loss", "trained"],
        ["00", "*", "0.1", "True"],
        ["01"],
    ]
    job = {"id": "a", "type": "training", "model": "m", "state": "running"}
    job |= {"progress": {"eval": 3, "max_evals": 10}, "remaining_time": 12.3, "duration": 4.56}
    assert list(misc.format_jobs([job, {"id": "q", "type": "write", "state": "waiting"}])) == [
        "id  name         state    x/N   time_left  duration  ",
        "a   training(m)  running  3/10  12.3       4.56      ",
        "q   write(None)  waiting                             ",
    ]


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        ("flat", [2, 2, 2, 2]),
        ("saw", [2, 2.75, 3.5, 4.25]),
        ("triangle", [2, 3.5, 5, 3.5]),
        ("sin", [2, 5, 2, -1]),
    ],
)
def test_shapes(kind, values):
    midnight = datetime(2020, 1, 1).timestamp()
    generator = wave.SHAPES[kind](base=2, amplitude=3, period=100)
    for turn in (0, 3):
        found = [generator.variate(midnight + 100 * turn + 25 * n) for n in range(4)]
        assert found == pytest.approx(values)


def test_drawn_shapes():
    midnight = datetime(2020, 1, 1).timestamp()
    camel = randevents.CamelEventGenerator(base=2, amplitude=3, period=100)
    found = [camel.variate(midnight + t) * 13 for t in (0, 10, 50, 99)]
    assert found == pytest.approx([26 + 3 * h for h in (1, 2, 8, 1)])
    letters = randevents.LoudMLEventGenerator(base=0, amplitude=16, period=121)
    heights = [round(letters.variate(midnight + t)) for t in range(121)]
    assert [(h, len(list(run))) for h, run in itertools.groupby(heights)][:6] == [
        *((0, 6), (15, 2), (0, 2), (8, 1), (9, 2), (10, 3)),
    ]

    class Step(randevents.PatternGenerator):
        PATTERN = " X\nXX"
        MARGIN = 1

    step = Step(base=0, amplitude=3, period=4)
    assert [step.variate(midnight + t) for t in range(4)] == pytest.approx([0, 1, 2, 0])


def test_events_follow_the_rate():
    generator = randevents.FlatEventGenerator(base=3, sigma=0)
    assert list(generator.generate_ts(0, 2)) == pytest.approx([0, 1 / 3, 2 / 3, 1, 4 / 3, 5 / 3])
    growing = randevents.FlatEventGenerator(base=2.5, sigma=0, trend=3600)
    assert len(list(growing.generate_ts(0, 3))) == 3 + 4 + 5
    assert list(randevents.FlatEventGenerator(base=-1, sigma=0).generate_ts(0, 3)) == []
    random.seed(1)
    noisy = list(randevents.SinEventGenerator(base=10, amplitude=5).generate_ts(0, 600))
    assert len(noisy) == pytest.approx(6000, rel=0.3)
    assert noisy == sorted(noisy)


def test_event_generators_are_abstract_and_the_example_runs(capsys):
    with pytest.raises(TypeError):
        randevents.EventGenerator()
    randevents.example()
    assert capsys.readouterr().out
    assert 1 <= randevents.randfloat(1, 2) <= 2


def test_gaps_are_opened_at_the_rate_of_errors():
    generator = randevents.FlatEventGenerator(base=1, sigma=0)
    events = list(wave.generate_data(generator, 0, 100, 1000, 0, 0, "f"))
    assert len(events) == 100
    assert all(value > 0 for _, fields in events for value in fields.values())
    random.seed(1)
    fewer = list(wave.generate_data(generator, 0, 1000, 1000, 0.05, 10_000, "f"))
    assert 300 < len(fewer) < 950


def test_tags():
    assert wave.build_tag_dict("a:b,c:d") == {"a": "b", "c": "d"}
    assert wave.build_tag_dict() == wave.build_tag_dict("") == {}
    with pytest.raises(ValueError, match="expected key:value"):
        wave.build_tag_dict("a")


def test_future_events_are_written_when_their_time_has_come(monkeypatch):
    class FakeLoud:
        batches = []

        def write_points(self, bucket_name, points, verbose, interval):
            self.batches.append((now_s[0], [point["load"] for point in points]))

    now_s = [1000.0]
    monkeypatch.setattr(shapes.time, "time", lambda: now_s[0])
    monkeypatch.setattr(shapes.time, "sleep", lambda s: now_s.__setitem__(0, now_s[0] + s))
    events = [(999, {"load": 1}), (1000, {"load": 2}), (1005, {"load": 3})]
    assert wave.dump_to_bucket(FakeLoud(), events, "b", {"a": "b"}, batch_size=1) == 3
    written = [(when, loads) for when, loads in FakeLoud.batches if loads]
    assert written == [(1000.0, [1]), (1000.0, [2]), (1005.0, [3])]


def test_benchmark_series_are_those_of_the_original():
    assert len(nab.g_urls) == 35
    assert nab.g_urls[0] == "artificialNoAnomaly/art_daily_no_noise.csv"


def test_benchmark_is_downloaded(recording_server, http_reply, json_reply, monkeypatch):
    def answer(head, body):
        if refuse:
            return http_reply(404)
        return http_reply(200, b"timestamp,value\n2014-04-01,1\n", content_type="text/csv")

    unheard = []

    async def load():
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: unheard.append(context))
        await nab.load_nab(FakeLoud(), "b", 10, 5.0)

    class FakeLoud:
        points = []

        async def async_write_points(self, bucket_name, points, interval):
            self.points += points

    refuse = False
    server = recording_server(answer)
    monkeypatch.setattr(nab, "g_base_url", f"http://{server.host}/data/")
    assert asyncio.run(nab.load_nab(FakeLoud(), "b", 10, 5.0)) == 35
    assert {point["timestamp"] for point in FakeLoud.points} == {5.0}
    assert {"file": "nyc_taxi.csv"} in [point["tags"] for point in FakeLoud.points]
    refuse = True
    with pytest.raises(OSError, match=r"status 404 for [a-zA-Z]+/"):
        asyncio.run(load())
    gc.collect()
    assert unheard == []


def test_points_can_be_shown_while_they_are_written(loudml_server, capsys):
    bucket = {"name": "b", "type": "influxdb", "addr": "x", "database": "y", "measurement": "z"}
    with Loud(loudml_server.hosts) as loud:
        loud.buckets.create(bucket)
        loud.write_points("b", [{"timestamp": 1, "a": 2}], verbose=True, interval=0.01)
        assert capsys.readouterr().out.splitlines()[1].split() == ["1", "2."]
        asyncio.run(loud.async_write_points("b", [{"timestamp": 1, "a": 2}], interval=0.01))
        asyncio.run(loud.async_write_points("b", []))
        loud.write_points("b", [])
    assert len(loudml_server.traffic.seen("POST", "/buckets/b/_write")) == 2
