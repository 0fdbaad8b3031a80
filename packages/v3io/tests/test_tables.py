"""Scans as iterators, tables, segments and data frames."""

import pickle

import pytest
from v3io.aio import dataplane as aio_dataplane
from v3io.dask import read_table
from v3io.dataplane import Client
from v3io.expressions import attr
from v3io.frames import arrow_table
from v3io.tables import parallel_scan, segments


@pytest.fixture
def client(v3io_server):
    with Client(endpoint=v3io_server.url, access_key="k", logger_verbosity="ERROR") as client:
        for number in range(50):
            attributes = {"n": number} if number % 2 else {"n": number, "half": number / 2}
            client.batch.put_item("users", f"t/{number}", attributes)
        client.batch.wait()
        yield client


def test_a_scan_answers_with_its_first_page_and_iterates_over_all(client):
    scan = client.kv.scan("users", "t", filter_expression=attr("n") >= 10)
    assert scan.status_code == 200
    assert len(scan.output.items) == 40
    assert sorted(item["n"] for item in scan) == list(range(10, 50))
    assert list(scan) == []


def test_a_limit_bounds_the_iteration(client):
    assert len(client.kv.scan("users", "t", limit=7).to_dicts()) == 7


def test_a_scan_goes_on_from_the_marker_of_another(client):
    first = client.kv.scan("users", "t", limit=20)
    seen = [item["n"] for item in first.output.items]
    rest = client.kv.scan("users", "t", marker=first.output.next_marker)
    assert sorted(seen + [item["n"] for item in rest]) == list(range(50))


async def test_the_asyncio_scan_iterates_too(client, v3io_server):
    async with aio_dataplane.Client(
        endpoint=v3io_server.url, access_key="k", logger_verbosity="ERROR"
    ) as aio_client:
        scan = await aio_client.kv.scan("users", "t")
        assert sorted([item["n"] async for item in scan]) == list(range(50))


def test_segments_pickle_and_partition_the_table(client):
    parts = pickle.loads(pickle.dumps(segments(client, "users", "t", 4)))
    found = [item["n"] for part in parts for item in part.items()]
    assert sorted(found) == list(range(50))
    assert "access_key" not in repr(parts[0])


@pytest.mark.parametrize("total", [0, 1025])
def test_impossible_segments_are_refused(client, total):
    with pytest.raises(ValueError, match=r"1\.\.1024"):
        segments(client, "users", "t", total)


def test_a_parallel_scan_yields_every_item_once(client):
    found = [item["n"] for item in parallel_scan(client, "users", "t", 3, buffer_items=5)]
    assert sorted(found) == list(range(50))


def test_leaving_a_parallel_scan_early_stops_its_threads(client, no_leaks):
    scan = parallel_scan(client, "users", "t", 3, buffer_items=1)
    next(scan)
    scan.close()


def test_a_parallel_scan_raises_the_error_of_a_segment(client):
    with pytest.raises(Exception, match="404"):
        list(parallel_scan(client, "users", "missing", 2))


def test_a_table_becomes_an_arrow_table(client):
    table = client.kv.scan("users", "t").to_arrow()
    assert table.num_rows == 50
    assert table.column("half").null_count == 25
    mixed = arrow_table([{"a": 1}, {"a": 2.5}, {"b": "x"}])
    assert mixed.column("a").to_pylist() == [1.0, 2.5, None]
    assert arrow_table([]).num_rows == 0


def test_a_table_becomes_a_data_frame(client):
    frame = client.kv.scan("users", "t").to_pandas()
    assert frame["n"].sum() == sum(range(50))


@pytest.fixture(scope="module")
def dask_cluster():
    import dask.dataframe
    from dask.distributed import Client as DaskClient
    from dask.distributed import LocalCluster

    with (
        LocalCluster(
            n_workers=2, threads_per_worker=1, processes=False, dashboard_address=None
        ) as cluster,
        DaskClient(cluster) as client,
    ):
        # Dask keeps its threads once they have worked; have them there before a test looks for leaks.
        dask.dataframe.from_dict({"n": list(range(20))}, npartitions=20)["n"].sum().compute()
        yield client


def test_a_table_becomes_a_dask_data_frame(client, dask_cluster):
    frame = read_table(client, "users", "t", 3)
    assert frame.npartitions == 3
    assert int(frame["n"].sum().compute()) == sum(range(50))
    with pytest.raises(ValueError, match="no items"):
        read_table(client, "users", "t", 3, filter_expression="n > 1000")
