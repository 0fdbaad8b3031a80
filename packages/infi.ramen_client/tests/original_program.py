"""Program run under infi.ramen_client 1.40: ``original_program.py WHAT CONFIG [COUNT]``; prints JSON.

``push`` pushes COUNT messages ``{"by": "original", "i": N}``; ``drain`` sends what is in the
queue; ``list`` shows the rows.
"""

import base64
import json
import sys
import warnings

warnings.simplefilter("ignore")

from infi.ramen_client.config import QueueReaderConfig  # noqa: E402
from infi.ramen_client.queue_reader import QueueReader  # noqa: E402
from infi.ramen_client.queue_writer import QueueWriter  # noqa: E402


def main(what, values, count=0):
    config = QueueReaderConfig(values)
    if what == "push":
        writer = QueueWriter(config)
        for number in range(int(count)):
            reqid = None if number % 2 else f"o-{number}"
            writer.push("m", "t", "v1", {"by": "original", "i": number}, reqid=reqid)
        return writer.queue_size()
    reader = QueueReader(config)
    if what == "drain":
        return reader.run(blocking=False)
    rows = []
    queue = reader._queue
    while True:
        row = queue.peek()
        if row is None:
            return rows
        values = [row[name] for name in ("id", "category", "data_type", "data_version", "reqid")]
        rows.append([*values, base64.b64encode(bytes(row["data"])).decode()])
        queue.pop()


if __name__ == "__main__":
    sys.stdout.write(json.dumps(main(sys.argv[1], json.loads(sys.argv[2]), *sys.argv[3:])))
