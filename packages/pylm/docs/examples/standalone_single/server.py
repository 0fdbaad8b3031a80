import pylm.standalone


class MyServer(pylm.standalone.Server):
    def foo(self, message):
        self.logger.warning("Got a message")
        return b"you sent me " + message


if __name__ == "__main__":
    MyServer("my_server", "tcp://127.0.0.1:5555").start()
