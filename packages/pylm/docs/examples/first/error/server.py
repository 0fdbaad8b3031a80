import pylm.standalone


class MyServer(pylm.standalone.Server):
    def foo(self, message):
        print(x)  # noqa: F821 - the error of the example
        return b"you sent me " + message


if __name__ == "__main__":
    MyServer("my_server", "tcp://127.0.0.1:5555").start()
