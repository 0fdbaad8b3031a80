from argparse import ArgumentParser

from pylm.servers import Worker

parser = ArgumentParser()
for flag in ("--name", "--db"):
    parser.add_argument(flag)
args = parser.parse_args()


class MyWorker(Worker):
    def foo(self, message):
        return self.name.encode() + b" processed " + message


if __name__ == "__main__":
    MyWorker(args.name, args.db).start()
