import socket
import threading

from mock_servers.leaks import Resources, leaked


def test_nothing_left_behind_is_none():
    assert leaked(Resources.now()) is None


def test_open_socket_is_a_leak_until_closed():
    before = Resources.now()
    with socket.socket():
        assert leaked(before, grace_s=0) == "left behind: 1 open sockets; threads: none"
    assert leaked(before) is None


def test_running_thread_is_a_leak_and_a_finishing_one_is_waited_for():
    before = Resources.now()
    release = threading.Event()
    thread = threading.Thread(target=release.wait, name="straggler")
    thread.start()
    assert "threads: straggler" in str(leaked(before, grace_s=0))
    release.set()
    assert leaked(before) is None


def test_fixture_fails_a_test_that_leaks(pytester):
    pytester.makepyfile(
        """
        import pytest, socket
        @pytest.fixture(scope="module")
        def kept():
            sockets = []
            yield sockets
            sockets[0].close()
        def test_leaks(kept, no_leaks):
            kept.append(socket.socket())
        """
    )
    result = pytester.runpytest_inprocess("-p", "no:cacheprovider", "-p", "no:asyncio")
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["*left behind: 1 open sockets*"])
