from argparse import ArgumentParser
from itertools import repeat

from pylm.clients import Client

parser = ArgumentParser()
for flag in ("--server", "--function", "--db"):
    parser.add_argument(flag)
args = parser.parse_args()

client = Client(args.server, args.db)
route = f"{args.server}.{args.function}"
for response in client.job(route, repeat(b"a message", 10), messages=10):
    print(response)
