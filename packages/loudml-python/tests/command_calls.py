"""Every command of the command line tool, against a recording server; run as a script, never imported.

    python command_calls.py <loudml | loudml_py> <port>

Before each command a marker request ``GET /__call__/<command>`` goes to the server. Prints a JSON object: command ->
``null``. Runs under the original release too, so it uses nothing but the standard library and the client.
"""

import asyncio
import contextlib
import http.client
import importlib
import io
import json
import logging
import os
import sys
import tempfile
import time

FILES = {
    "bucket.json": '{"name": "b", "type": "influxdb"}',
    "bucket.yaml": "name: b\ntype: influxdb\n",
    "model.json": '{"name": "m", "type": "donut"}',
    "variables.json": '{"name": "v"}',
    "job.json": '{"name": "j", "method": "get"}',
    "points.json": '[{"timestamp": 1, "a": 1}, {"timestamp": 2, "a": 2}, {"timestamp": 3, "a": 3}]',
}

COMMANDS = [
    "create-bucket bucket.json",
    "create-bucket bucket.yaml",
    "create-bucket -f bucket.json",
    "delete-bucket b",
    "clear-bucket b",
    "list-buckets",
    "list-buckets -a",
    "show-bucket b",
    "read-bucket b -f 1 -t 2 -i 1m -F avg(x)",
    "read-bucket b --from 1 --to 2 --bg",
    "write-bucket b -d points.json -b 2",
    "list-model-versions m",
    "list-model-versions m -a",
    "load-model-version m 00",
    "create-model model.json",
    "create-model --force model.json",
    "create-model -t t variables.json",
    "delete-model m",
    "list-models",
    "list-models --all",
    "show-model m",
    "show-model -a m",
    "start-model m",
    "stop-model m",
    "list-model-templates",
    "list-model-templates -a",
    "create-model-template t model.json",
    "delete-model-template t",
    "train-model m -f now-1d --bg",
    "train-model m -f now-1d -t now-1h -m 3 -e 7 -c --bg",
    "train-model m -f now-1d",
    "eval-model m -f 1 -t 2 --bg",
    "eval-model m -f 1 -t 2 -i in -o out -a --bg",
    "eval-model m -f 1 -t 2 -o out -s --bg",
    "forecast-model m -f now -t now+1d --bg",
    "forecast-model m -f now -t now+1d -i in -o out -s -p 0.9 --bg",
    "forecast-model m -f now -t now+1d -c f:low:3 --bg",
    "list-jobs",
    "cancel-job a",
    "create-scheduled-job job.json",
    "create-scheduled-job -f job.json",
    "delete-scheduled-job j",
    "list-scheduled-jobs",
    "list-scheduled-jobs -a",
    "version",
    "help",
]


def main(module, port):
    """Run every command."""
    logging.disable(logging.CRITICAL)
    cli = importlib.import_module(f"{module}.cli")
    time.sleep = lambda seconds: None  # the answers do not change
    folder = tempfile.mkdtemp()
    os.chdir(folder)
    for name, text in FILES.items():
        with open(name, "w") as file:
            file.write(text)
    marker = http.client.HTTPConnection("127.0.0.1", port)
    for command in COMMANDS:
        marker.request("GET", f"/__call__/{command.replace(' ', '_')}")
        marker.getresponse().read()
        asyncio.set_event_loop(asyncio.new_event_loop())  # the original closes it each time
        output = io.StringIO()
        with (
            contextlib.redirect_stdout(output),
            contextlib.redirect_stderr(output),
            contextlib.suppress(SystemExit, Exception),
        ):
            cli.main(["-A", f"127.0.0.1:{port}", "-e", command])
    marker.close()
    print(json.dumps(dict.fromkeys(COMMANDS)))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
