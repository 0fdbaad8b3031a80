import pylm.chained


class Step1(pylm.chained.Server):
    def foo(self, message):
        self.logger.warning("Got a message")
        return b"you sent me " + message


if __name__ == "__main__":
    Step1(
        "step1",
        "tcp://127.0.0.1:5555",
        "tcp://127.0.0.1:5557",
        "step2.bar",
        "tcp://127.0.0.1:5556",
    ).start()
