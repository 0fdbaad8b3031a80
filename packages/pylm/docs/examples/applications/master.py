from argparse import ArgumentParser

from pylm.servers import Master

parser = ArgumentParser()
for flag in ("--name", "--pull", "--pub", "--wpull", "--wpush", "--db"):
    parser.add_argument(flag)
args = parser.parse_args()

if __name__ == "__main__":
    Master(args.name, args.pull, args.pub, args.wpull, args.wpush, args.db).start()
