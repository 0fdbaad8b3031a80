import sys

from pylm.servers import MuxWorker


class MyWorker(MuxWorker):
    def foo(self, message):
        for each in (b"first", b"second"):
            yield self.name.encode() + b" " + each + b" " + message


server = MyWorker(sys.argv[1], "tcp://127.0.0.1:5559")

if __name__ == "__main__":
    server.start()
