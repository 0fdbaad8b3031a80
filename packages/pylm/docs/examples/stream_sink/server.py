from pylm.servers import Server


class MyServer(Server):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.counter = 0

    def handle_stream(self, message):
        message.stage += 1
        self.counter += 1
        topic = "even" if self.counter % 2 == 0 else "odd"
        self.logger.info(topic.capitalize())
        return topic, message

    def foo(self, message):
        return b"you sent me " + message


server = MyServer(
    "my_server",
    db_address="tcp://127.0.0.1:5555",
    pull_address="tcp://127.0.0.1:5556",
    pub_address="tcp://127.0.0.1:5557",
    pipelined=True,
)

if __name__ == "__main__":
    server.start()
