from itertools import repeat

from pylm.clients import Client

client = Client(
    "server",
    "tcp://127.0.0.1:5559",
)

for response in client.job("server.foo", repeat(b"a message", 10), messages=30):
    print(response)
