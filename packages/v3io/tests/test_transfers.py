"""Long objects: streamed, ranged, appended exactly once, with progress."""

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mock_servers.faults import Fault
from transport_utils.errors import TransportError
from v3io.aio import dataplane as aio_dataplane
from v3io.dataplane import Client
from v3io.errors import ConnectionBroken, NotFound, ObjectChanged, UploadConflict
from v3io.transfers import part_ranges, pieces, upload_steps

DATA = bytes(range(256)) * 100


class Quiet:
    def __getattr__(self, name):
        return lambda *args, **kwargs: None


@pytest.fixture
def client(v3io_server):
    with Client(logger=Quiet(), endpoint=v3io_server.url, access_key="k") as client:
        yield client


@pytest.fixture
async def aio(v3io_server):
    async with aio_dataplane.Client(
        logger=Quiet(), endpoint=v3io_server.url, access_key="k"
    ) as client:
        yield client


@given(st.integers(0, 50), st.integers(0, 200), st.integers(1, 60))
def test_ranges_cover_what_was_asked_for_without_overlap(start, stop, part):
    covered = [
        at
        for offset, length in part_ranges(start, stop, part)
        for at in range(offset, offset + length)
    ]
    assert covered == list(range(start, stop))


@given(st.lists(st.binary(max_size=20)), st.integers(1, 30))
def test_pieces_of_every_kind_of_source_are_its_bytes(chunks, part):
    whole = b"".join(chunks)
    for source in (whole, io.BytesIO(whole), chunks, memoryview(whole)):
        found = list(pieces(source, part))
        assert b"".join(found) == whole
        assert all(len(piece) == part for piece in found[:-1])


@pytest.mark.parametrize(
    ("source", "part", "error"),
    [(5, 10, TypeError), (b"x", 0, ValueError), (b"x", 2**24, ValueError)],
)
def test_bad_source_or_part_is_refused(source, part, error):
    with pytest.raises(error):
        list(pieces(source, part))


def test_file_goes_up_in_parts_and_comes_back_by_ranges(client, tmp_path, v3io_server):
    source = tmp_path / "source"
    source.write_bytes(DATA)
    seen = []
    assert client.object.upload(
        "users", "o", source, part_bytes=10_000, progress=seen.append
    ) == len(DATA)
    assert seen == [10_000, 20_000, 25_600]
    progress = []
    target = tmp_path / "target"
    client.object.download(
        "users",
        "o",
        target,
        part_bytes=3000,
        progress=lambda done, total: progress.append((done, total)),
    )
    assert target.read_bytes() == DATA
    assert progress[-1] == (25_600, 25_600)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["source", "target"]
    assert (
        b"".join(client.object.read_parts("users", "o", offset=100, part_bytes=7000)) == DATA[100:]
    )


def test_empty_object_makes_the_round(client, tmp_path):
    assert client.object.upload("users", "empty", []) == 0
    assert client.object.download("users", "empty", tmp_path / "empty") == 0
    assert (tmp_path / "empty").read_bytes() == b""


def test_failed_download_leaves_no_file(client, tmp_path):
    with pytest.raises(NotFound):
        client.object.download("users", "missing", tmp_path / "file")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("applied", [True, False])
def test_append_whose_answer_was_lost_is_written_once(client, v3io_server, applied):
    v3io_server.faults.add(Fault("drop", method="PUT", apply=applied, skip=1, times=1))
    client.object.upload("users", "o", DATA, part_bytes=10_000)
    assert client.object.get("users", "o").body == DATA


def test_upload_gives_up_when_parts_keep_failing(client, v3io_server):
    v3io_server.faults.add(Fault("reset", method="PUT", skip=1))
    with pytest.raises(ConnectionBroken):
        client.object.upload("users", "o", DATA, part_bytes=10_000)


def test_other_writer_is_noticed():
    steps = upload_steps("o", [b"abc", b"def"])
    assert next(steps) == (b"abc", False, 0)
    assert steps.send("response") == (b"def", True, 3)
    lost = ConnectionBroken("lost", sent=2)
    assert steps.send(lost) == (None, False, 3)
    with pytest.raises(UploadConflict, match="5 bytes after 3"):
        steps.send(5)


def test_failure_that_did_nothing_is_raised_at_once():
    steps = upload_steps("o", [b"abc", b"def"])
    next(steps)
    steps.send("response")
    with pytest.raises(TransportError, match="refused"):
        steps.send(TransportError("refused"))


def test_object_that_changes_between_parts_is_noticed(client):
    client.object.put("users", "o", body=DATA)
    parts = client.object.read_parts("users", "o", part_bytes=10_000)
    next(parts)
    client.object.put("users", "o", body=b"short")
    with pytest.raises(Exception, match=r"416|changed"):
        next(parts)


async def test_asyncio_transfers_are_the_same(aio, tmp_path, v3io_server):
    v3io_server.faults.add(Fault("drop", method="PUT", apply=True, skip=1, times=1))
    seen = []
    assert await aio.object.upload(
        "users", "o", DATA, part_bytes=10_000, progress=seen.append
    ) == len(DATA)
    assert seen[-1] == len(DATA)
    assert await aio.object.download("users", "o", tmp_path / "copy", part_bytes=3000) == len(DATA)
    assert (tmp_path / "copy").read_bytes() == DATA
    parts = [part async for part in aio.object.read_parts("users", "o", part_bytes=9000)]
    assert b"".join(parts) == DATA
    memory = io.BytesIO()
    await aio.object.download("users", "o", memory)
    assert memory.getvalue() == DATA
    with pytest.raises(NotFound):
        await aio.object.download("users", "missing", tmp_path / "none")


def test_changed_date_is_a_changed_object(client):
    from v3io.transfers import check_part

    client.object.put("users", "o", body=b"abc")
    response = client.object.get("users", "o")
    with pytest.raises(ObjectChanged, match="o changed"):
        check_part("o", response, 3, "Mon, 01 Jan 2024 00:00:00 GMT")
