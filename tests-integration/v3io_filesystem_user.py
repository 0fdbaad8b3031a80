"""A day of a v3iofs user: files through fsspec and pandas. Prints what was seen as one JSON document.

``python v3io_filesystem_user.py URL`` in an environment that holds v3iofs; the tests run it on the original SDK and
on ours.
"""

import json
import sys

import fsspec
import pandas
import v3io
import v3iofs

URL = sys.argv[1]
OPTIONS = {"v3io_api": URL, "v3io_access_key": "any"}
seen = {"sdk": v3io.__version__}
files = v3iofs.V3ioFS(**OPTIONS)

with files.open("v3io:///users/fs/hello.txt", "wb") as file:
    file.write(b"hello, there")
with files.open("v3io:///users/fs/hello.txt", "ab") as file:
    file.write(b" and here")
seen["read"] = files.cat("v3io:///users/fs/hello.txt").decode()
with files.open("v3io:///users/fs/hello.txt", "rb") as file:
    file.seek(7)
    seen["range"] = file.read(5).decode()
seen["exists"] = [files.exists(f"v3io:///users/fs/{name}") for name in ("hello.txt", "nope.txt")]
for number in range(3):
    with files.open(f"v3io:///users/fs/deep/part-{number}.bin", "wb") as file:
        file.write(bytes([number]) * 1000)
seen["listed"] = sorted(files.ls("v3io:///users/fs", detail=False))
seen["kinds"] = sorted(
    (entry["type"], entry["size"]) for entry in files.ls("v3io:///users/fs", detail=True)
)
seen["found"] = len(files.find("v3io:///users/fs"))
seen["glob"] = sorted(files.glob("v3io:///users/fs/deep/*.bin"))
seen["info"] = files.info("v3io:///users/fs/deep/part-1.bin")["size"]
seen["containers"] = sorted(entry["name"] for entry in files.ls("v3io:///", detail=True))

frame = pandas.DataFrame({"name": ["bob", "linda"], "age": [42, 41]})
frame.to_csv("v3io:///users/fs/frame.csv", index=False, storage_options=OPTIONS)
seen["csv"] = pandas.read_csv("v3io:///users/fs/frame.csv", storage_options=OPTIONS).to_dict("list")
with fsspec.open("v3io:///users/fs/frame.csv", "rb", **OPTIONS) as file:
    seen["first line"] = file.readline().decode().strip()
large = bytes(range(256)) * 40_000
with files.open("v3io:///users/fs/large.bin", "wb") as file:
    file.write(large)
seen["large"] = files.cat("v3io:///users/fs/large.bin") == large

files.rm("v3io:///users/fs/hello.txt")
seen["removed"] = not files.exists("v3io:///users/fs/hello.txt")
try:
    files.cat("v3io:///users/fs/hello.txt")
except FileNotFoundError:
    seen["missing"] = "FileNotFoundError"
print(json.dumps(seen))
