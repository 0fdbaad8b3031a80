from pylm.servers import Sink


class MySink(Sink):
    def foo(self, message):
        return b"and gathered " + message


server = MySink(
    "my_sink",
    db_address="tcp://127.0.0.1:5580",
    sub_addresses=["tcp://127.0.0.1:5561"],
    pub_address="tcp://127.0.0.1:5581",
    previous=["my_pipeline"],
)

if __name__ == "__main__":
    server.start()
