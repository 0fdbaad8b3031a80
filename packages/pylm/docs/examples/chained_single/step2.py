import pylm.chained


class Step2(pylm.chained.Server):
    def bar(self, message):
        self.logger.warning("Got a message")
        return b"got it too, after " + message


if __name__ == "__main__":
    Step2(
        "step2",
        "tcp://127.0.0.1:5557",
        "tcp://127.0.0.1:5559",
        "last.baz",
        "tcp://127.0.0.1:5558",
    ).start()
