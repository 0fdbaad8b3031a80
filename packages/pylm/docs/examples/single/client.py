from pylm.clients import Client

client = Client(
    "my_server",
    "tcp://127.0.0.1:5555",
)
result = client.eval("my_server.foo", b"a message")
print("Client got: ", result)
