import sys

import pylm.standalone


class MyWorker(pylm.standalone.Worker):
    def foo(self, message):
        return self.name.encode() + b" processed " + message


worker = MyWorker(
    sys.argv[1],
    push_address="tcp://127.0.0.1:5558",
    pull_address="tcp://127.0.0.1:5557",
    db_address="tcp://127.0.0.1:5559",
)

if __name__ == "__main__":
    worker.start()
