"""``python -m ya_httpx_client --url URL REQUEST_PATH RESPONSE_PATH``, run on a provider."""

from __future__ import annotations

import argparse

from ya_httpx_client.provider_command import mount_url, send
from ya_httpx_client.serializable_request import Request


def main(arguments: list[str] | None = None) -> None:
    """Send the request in one file to a server and write its response to another file.

    Raises:
        ValueError: ``--url`` has no scheme, or the request file is not JSON.
        OSError: A file or the server cannot be reached.
    """
    parser = argparse.ArgumentParser(
        prog="python -m ya_httpx_client",
        description="Send the HTTP request in REQUEST_PATH to the server at URL; write the response to RESPONSE_PATH.",
    )
    parser.add_argument(
        "--url", required=True, help="server, such as http://127.0.0.1:80 or unix:///tmp/golem.sock"
    )
    parser.add_argument("request_path", metavar="REQUEST_PATH", help="JSON file with the request")
    parser.add_argument("response_path", metavar="RESPONSE_PATH", help="JSON file to write")
    options = parser.parse_args(arguments)
    base = mount_url(options.url)
    print("IN: ", options.request_path)
    request = Request.from_file(options.request_path)
    request.replace_mount_url(base)
    send(request).to_file(options.response_path)
    print("OUT:", options.response_path)


if __name__ == "__main__":
    main()
