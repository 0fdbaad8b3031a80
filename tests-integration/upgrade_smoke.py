"""A client's first steps, run in an environment of its own against a server outside of it: ``CLIENT [ADDRESS]``.

Used by ``test_upgrades.py`` with different releases of transport-utils. Prints ``held`` at the end; anything that fails
raises. ya-httpx-client finds its daemon by the environment, and pylm brings its own server.
"""

import asyncio
import importlib.metadata
import sys
import tempfile


def loudml(address):
    """Write points and read them back."""
    from loudml import Loud, NativeHttpConnection

    name = "of-" + importlib.metadata.version("transport-utils")
    bucket = {
        "name": name, "type": "influxdb", "addr": "localhost", "database": "d", "measurement": "m",
    }  # fmt: skip
    with Loud([address], connection_class=NativeHttpConnection) as loud:
        loud.buckets.create(bucket)
        points = [{"timestamp": 60 * number, "v": number} for number in range(10)]
        for job in loud.buckets.write(name, points, batch_size=10):
            loud.jobs.id(job).wait(0.02, timeout=20, check=True)
        assert name in [found["name"] for found in loud.buckets.get()]
    with Loud([address]) as loud:  # the default connection too
        assert loud.version()


def v3io(address):
    """Write an item and put a record, blocking and with asyncio."""
    import v3io.aio.dataplane
    from v3io.dataplane import Client

    client = Client(endpoint=address, access_key="k", logger_verbosity="ERROR")
    client.kv.put("bigdata", "t", "one", {"n": 1})
    stream = "of-" + importlib.metadata.version("transport-utils")
    client.stream.create("bigdata", stream, 1)
    client.stream.put_records("bigdata", stream, [{"data": "x", "shard_id": 0}])
    client.close()

    async def read():
        async with v3io.aio.dataplane.Client(endpoint=address, access_key="k") as other:
            return (await other.kv.get("bigdata", "t", "one")).output.item

    assert asyncio.run(read()) == {"n": 1}


def ramen(address):
    """Push a message and ship it."""
    from infi.ramen_client.config import QueueReaderConfig
    from infi.ramen_client.queue_reader import QueueReader
    from infi.ramen_client.queue_writer import QueueWriter

    with tempfile.TemporaryDirectory() as folder:
        config = QueueReaderConfig(
            {
                "sender": "smoke", "system_serial": 1, "system_version": "1", "hostname": address,
                "auth_token": "good-token", "ssl": False, "queue_dir": folder,
            }
        )  # fmt: skip
        writer, reader = QueueWriter(config), QueueReader(config)
        writer.push("m", "t", "v1", {"n": 1})
        assert reader.run(blocking=False) == 1
        reader.close()
        writer.close()


def pylm(*addresses):
    """Call a function of a server."""
    from pylm.clients import Client
    from pylm.servers import Server

    class Upper(Server):
        def text(self, message):
            return message.upper()

    with Upper("smoke", *addresses).running(), Client("smoke", addresses[0]) as client:
        assert client.eval("smoke.text", b"held", idempotent=True) == b"HELD"


def ya_httpx_client(image_hash, python):
    """Have a provider answer a request."""
    from ya_httpx_client import Session

    async def ask():
        session = Session({"budget": 1, "subnet_tag": "public"})
        start = f"{python} /golem/run/server.py 0.0.0.0:80 >/dev/null 2>&1 &"
        session.add_url("http://smoke", image_hash, ("/bin/sh", "-c", start))
        async with session.client() as client:
            answer = await client.get("http://smoke/echo", timeout=40)
        await session.close()
        return answer.status_code

    assert asyncio.run(ask()) == 200


if __name__ == "__main__":
    name, *where = sys.argv[1:]
    globals()[name](*where)
    print("held with transport-utils", importlib.metadata.version("transport-utils"))
