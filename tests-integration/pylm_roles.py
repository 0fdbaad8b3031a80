"""A process of a small pylm cluster, to be killed: ``pylm_roles.py master|worker LOG ADDRESS ...``.

The function ``crew.keep`` writes its message down as one line of LOG before it returns it, so that executions can be
counted afterwards.
"""

import logging
import os
import sys

from pylm.config import ServerOptions
from pylm.servers import Master, Worker

OPTIONS = {"log_level": logging.CRITICAL, "options": ServerOptions(heartbeat_s=0.2)}


class Keeper(Worker):
    """Writes down what it executes."""

    def keep(self, message):
        """Return the message."""
        os.write(self.log, message + b"\n")
        return message


def main(role, log, *addresses):
    """Run one process until it is ended."""
    if role == "master":
        Master("crew", *addresses, **OPTIONS).start()
        return
    worker = Keeper("", *addresses, **OPTIONS)
    worker.log = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    worker.start()


if __name__ == "__main__":
    main(*sys.argv[1:])
