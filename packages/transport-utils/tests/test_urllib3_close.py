"""Closing the urllib3 backend from a thread that sent nothing."""

import threading

from mock_servers.runner import ServerThread
from starlette.responses import PlainTextResponse
from transport_utils.transport import Transport


def test_pool_closes_in_a_thread_that_never_sent():
    failures = []
    with ServerThread(PlainTextResponse("hello")) as server:
        transport = Transport([server.url], backend="urllib3")
        assert transport.request("GET", "/").status == 200

        def close():
            try:
                transport.close()
            except Exception as error:
                failures.append(error)

        thread = threading.Thread(target=close)
        thread.start()
        thread.join()
    assert failures == []
