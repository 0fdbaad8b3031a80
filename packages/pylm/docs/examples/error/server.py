from pylm.servers import Server


class MyServer(Server):
    def foo(self, message):
        print(x)  # noqa: F821 - the error of the example
        return b"you sent me " + message


server = MyServer(
    "my_server",
    db_address="tcp://127.0.0.1:5555",
    pull_address="tcp://127.0.0.1:5556",
    pub_address="tcp://127.0.0.1:5557",
)

if __name__ == "__main__":
    server.start()
