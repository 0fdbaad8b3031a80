"""Makes the calls it is told on whichever v3io SDK its interpreter has, and tells what came back.

``python v3io_sdk_worker.py URL [aio]``, with ``aio`` on the asyncio client: each line of standard input is ``[call,
keyword arguments]``, each line of standard output the outcome. Bytes travel as ``{"bytes": base64}``, datetimes as
``{"datetime": iso}``; ``{"location": n}`` stands for the location that the n-th last seek returned.
"""

import asyncio
import base64
import datetime
import inspect
import json
import sys
import warnings

import v3io.aio.dataplane
import v3io.dataplane

warnings.simplefilter("ignore")


class Quiet:
    """A logger that says nothing."""

    def __getattr__(self, name):
        return lambda *args, **kwargs: None


def received(value, locations):
    if isinstance(value, list):
        return [received(item, locations) for item in value]
    if not isinstance(value, dict):
        return value
    if set(value) == {"bytes"}:
        return base64.b64decode(value["bytes"])
    if set(value) == {"datetime"}:
        return datetime.datetime.fromisoformat(value["datetime"])
    if set(value) == {"location"}:
        return locations[-1 - value["location"] % len(locations)] if locations else "none"
    return {name: received(item, locations) for name, item in value.items()}


def shown(value):
    if isinstance(value, bytes):
        return {"bytes": base64.b64encode(value).decode()}
    if isinstance(value, datetime.datetime):
        return {"datetime": value.isoformat()}
    if isinstance(value, (list, tuple)):
        return [shown(item) for item in value]
    if isinstance(value, dict):
        return {name: shown(item) for name, item in value.items()}
    if hasattr(value, "__dict__"):
        names = [name for name in dir(value) if not name.startswith("_")]
        return {
            name: shown(getattr(value, name))
            for name in names
            if not callable(getattr(value, name)) and name not in NEW_ATTRIBUTES
        }
    return value


NEW_ATTRIBUTES = {"truncated"}
"""What only 0.8 has."""


def perform(client, name, arguments, locations, wait):
    call = client
    for part in name.split("."):
        call = getattr(call, part)
    try:
        result = wait(call(**received(arguments, locations)))
        if name.endswith("new_cursor"):
            return {"items": shown(wait(result.all()))}
        if name == "put_items":
            return {"statuses": [response.status_code for response in result.responses]}
        output = result.output
    except v3io.dataplane.response.HttpResponseError as error:
        return {"error": "HttpResponseError", "status": error.status_code, "text": str(error)}
    except Exception as error:
        return {"error": type(error).__name__, "text": str(error)}
    if name.endswith(("seek", "seek_shard")) and getattr(output, "location", None):
        locations.append(output.location)
    body = result.body if name.endswith(("object.get", "get_object")) else b""
    return {"status": result.status_code, "output": shown(output), "body": shown(body)}


def main():
    loop = asyncio.new_event_loop()

    async def make():
        """Make the client where a loop runs, as 0.7.2 demands."""
        return v3io.aio.dataplane.Client(endpoint=sys.argv[1], access_key="any", logger=Quiet())

    def wait(result):
        return loop.run_until_complete(result) if inspect.isawaitable(result) else result

    if sys.argv[2:] == ["aio"]:
        client = wait(make())
    else:
        client = v3io.dataplane.Client(endpoint=sys.argv[1], access_key="any", logger=Quiet())
    locations = []
    print(json.dumps(v3io.__version__), flush=True)
    for line in sys.stdin:
        name, arguments = json.loads(line)
        if name == "batch":
            for call, call_arguments in arguments:
                target = client.batch
                for part in call.split("."):
                    target = getattr(target, part)
                target(**received(call_arguments, locations))
            responses = client.batch.wait(raise_for_status="never")
            outcome = [[r.status_code, shown(r.output), shown(r.body)] for r in responses]
        else:
            outcome = perform(client, name, arguments, locations, wait)
        print(json.dumps(outcome), flush=True)
    wait(client.close())
    loop.close()


if __name__ == "__main__":
    main()
