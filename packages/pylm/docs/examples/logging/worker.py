import sys

from pylm.servers import Worker


class MyWorker(Worker):
    def __init__(self, *args, **kwargs):
        self.ncalls = 0
        super().__init__(*args, **kwargs)

    def foo(self, message):
        self.ncalls += 1
        if self.ncalls % 10 == 0:
            self.logger.info("Processed 10 messages")
        return self.name.encode() + b" processed " + message


server = MyWorker(sys.argv[1], "tcp://127.0.0.1:5559")

if __name__ == "__main__":
    server.start()
