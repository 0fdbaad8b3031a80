"""What the v3io server acknowledged survives a kill."""

import urllib.request

from mock_servers.process import ServerProcess


def test_an_acknowledged_append_survives_a_kill(tmp_path):
    with ServerProcess("v3io", "--port", "0", "--data", str(tmp_path)) as server:

        def request(method, body=None, **headers):
            url = f"{server.url}/bigdata/log"
            call = urllib.request.Request(
                url, body, {"X-v3io-session-key": "k", **headers}, method=method
            )
            with urllib.request.urlopen(call, timeout=10) as reply:
                return reply.read()

        for number in range(20):
            request("PUT", b"%d\n" % number, Range="-1")
        server.kill()
        server.start()
        assert request("GET").split() == [b"%d" % number for number in range(20)]
