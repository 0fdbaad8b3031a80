"""A process of a small pylm cluster, to be killed: ``pylm_roles.py master|worker LOG ROUTER ADDRESS ...``.

ROUTER is the address of the acknowledged channel, for a worker perhaps that of a proxy before it.

The function ``crew.keep`` writes its message down as one line of LOG before it returns it, so that executions can be
counted afterwards.
"""

import logging
import os
import sys

from pylm.config import ServerOptions
from pylm.servers import Master, Worker

QUIET = {"log_level": logging.CRITICAL}


class Keeper(Worker):
    """Writes down what it executes."""

    def keep(self, message):
        """Return the message."""
        os.write(self.log, message + b"\n")
        return message


def main(role, log, router, *addresses):
    """Run one process until it is ended."""
    options = ServerOptions(heartbeat_s=0.2, router_address=router)
    if role == "master":
        Master("crew", *addresses, **QUIET, options=options).start()
        return
    worker = Keeper("", *addresses, **QUIET, options=options)
    worker.log = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    worker.start()


if __name__ == "__main__":
    main(*sys.argv[1:])
