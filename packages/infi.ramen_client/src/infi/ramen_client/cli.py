"""The ``ramen-client`` command: look into a queue, push, send, requeue and repair.

The queue and the server are given by options, by environment variables (``RAMEN_SENDER``, ``RAMEN_SYSTEM_SERIAL``,
``RAMEN_SYSTEM_VERSION``, ``RAMEN_QUEUE_DIR``, ``RAMEN_HOSTNAME``, ``RAMEN_AUTH_TOKEN`` ...) or by a JSON file with the
fields of the configuration.
"""

from __future__ import annotations

import contextlib
import datetime
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import click
from infi.ramen_client._version import __version__
from infi.ramen_client.config import QueueReaderConfig, QueueWriterConfig
from infi.ramen_client.diskqueue import DeadLetters, DiskQueue, FileLock, QueueFiles
from infi.ramen_client.errors import AutheticationError, DataError, RamenError
from infi.ramen_client.serialization import inflate

__all__ = ["main"]

Command = TypeVar("Command", bound=Callable[..., Any])
Config = TypeVar("Config", bound=QueueWriterConfig)

QUEUE_FIELDS = ("sender", "system_serial", "system_version", "queue_dir")
SERVER_FIELDS = ("hostname", "auth_token", "ssl", "proxy", "server_timeout")


def _options(*names: str) -> Callable[[Command], Command]:
    """Add ``--config`` and an option per configuration field."""

    def decorate(command: Command) -> Command:
        for name in reversed(names):
            option = "--ssl/--no-ssl" if name == "ssl" else f"--{name.replace('_', '-')}"
            command = click.option(
                option, name, default=None, envvar=f"RAMEN_{name.upper()}", help=_HELP[name]
            )(command)
        return click.option(
            "--config",
            "config_file",
            type=click.File("r"),
            envvar="RAMEN_CONFIG",
            help="JSON file with the fields of the configuration; options win over it.",
        )(command)

    return decorate


_HELP = {
    "sender": "Name of the sending program.",
    "system_serial": "Serial number of the system.",
    "system_version": "Version of the system.",
    "queue_dir": "Folder of the queue. [default: /var/ramen_client/]",
    "hostname": "Ramen server, with :port if need be.",
    "auth_token": "Token of the server; better given by the environment.",
    "ssl": "Use HTTPS. [default: yes]",
    "proxy": "URL of an HTTP proxy.",
    "server_timeout": "Limit of one request in seconds. [default: 20]",
}


def _values(config_file: Any, options: dict[str, Any]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    if config_file is not None:
        try:
            values = json.load(config_file)
        except ValueError as error:
            raise click.UsageError(f"{config_file.name} is not JSON: {error}") from error
        if not isinstance(values, dict):
            raise click.UsageError(f"{config_file.name} holds no JSON object of fields")
    values |= {name: value for name, value in options.items() if value is not None}
    values.setdefault("system_version", "0")
    return values


def _writer_config(config_file: Any, options: dict[str, Any]) -> QueueWriterConfig:
    known = QueueWriterConfig.fields
    values = {k: v for k, v in _values(config_file, options).items() if k in known}
    return _checked(QueueWriterConfig, values)


def _reader_config(config_file: Any, options: dict[str, Any]) -> QueueReaderConfig:
    return _checked(QueueReaderConfig, _values(config_file, options))


def _checked(cls: type[Config], values: dict[str, Any]) -> Config:
    try:
        config = cls(values)
        config.validate()
    except DataError as error:
        lines = [
            f"  {name}: {text if isinstance(text, str) else ' '.join(text)}"
            for name, text in error.errors.items()
        ]
        raise click.UsageError("the configuration is wrong\n" + "\n".join(lines)) from error
    return config


@contextlib.contextmanager
def _queue(config_file: Any, options: dict[str, Any]) -> Iterator[DiskQueue]:
    config = _writer_config(config_file, options)
    files = QueueFiles(config.queue_dir or "", config.sender, config.system_serial)
    if files.identity() is None and not os.path.exists(files.wal):
        raise click.ClickException(f"there is no queue {files.database}")
    queue = DiskQueue(files)
    try:
        yield queue
    finally:
        queue.close()


class _Group(click.Group):
    """Turns the errors of this package into one line and exit status 1."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the sub-command."""
        try:
            return super().invoke(ctx)
        except RamenError as error:
            raise click.ClickException(str(error)) from error


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="ramen-client")
def main() -> None:
    """Look after a queue of messages for a Ramen server."""


def _age(seconds: float) -> str:
    return str(datetime.timedelta(seconds=max(0, int(seconds))))


def _oldest_s(queue: DiskQueue) -> float | None:
    rows = queue.read(limit=1)
    if not rows:
        return None
    try:
        pushed = datetime.datetime.fromisoformat(f"{rows[0]['ts']}+00:00")
    except ValueError:
        return None
    return time.time() - pushed.timestamp()


def _facts(queue: DiskQueue) -> dict[str, Any]:
    """Return everything ``status`` shows, as JSON values."""
    from infi.ramen_client.blacklist import Blacklist
    from infi.ramen_client.status import StatusFile

    files = queue.files
    lock = FileLock(files, files.reader)
    active = os.path.exists(files.reader) and not lock.try_acquire()
    lock.forget()
    config = QueueWriterConfig({"sender": "any", "system_serial": 0, "system_version": "0"})
    return {
        "queue": files.database,
        "messages": queue.size(),
        "bytes": queue.bytes_on_disk(),
        "oldest_s": _oldest_s(queue),
        "totals": queue.counters(),
        "dead_letters": DeadLetters(files).count(),
        "reader_active": active,
        "reader": StatusFile(files).read(),
        "blacklist": [
            {**rule.to_primitive(), "dropped": rule.dropped}
            for rule in Blacklist(config, files.blacklist).get_list()
        ],
    }


@main.command()
@_options(*QUEUE_FIELDS)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--watch", is_flag=True, help="Show it anew every second until Ctrl-C.")
def status(config_file: Any, as_json: bool, watch: bool, **options: Any) -> None:
    """Show depth, bytes, age, rate, last error and blacklist of a queue."""
    with _queue(config_file, options) as queue:
        if as_json:
            click.echo(json.dumps(_facts(queue), indent=2))
            return
        from rich.console import Console
        from rich.live import Live

        if not watch:
            Console().print(_status_table(_facts(queue)))
            return
        with (
            contextlib.suppress(KeyboardInterrupt),
            Live(_status_table(_facts(queue)), console=Console()) as live,
        ):
            while True:
                time.sleep(1)
                live.update(_status_table(_facts(queue)))


def _status_table(facts: dict[str, Any]) -> Any:
    from rich.table import Table
    from rich.text import Text  # what others wrote is no markup

    table = Table(title=Text(facts["queue"]), show_header=False, title_justify="left")
    reader = facts["reader"] or {}
    oldest = facts["oldest_s"]
    error = reader.get("last_error")
    if error:
        error = f"{error} ({_age(time.time() - reader['last_error_at'])} ago)"
    totals = facts["totals"]
    rows = [
        ("messages", f"{facts['messages']:,}"),
        ("on disk", f"{facts['bytes']:,} bytes"),
        ("oldest", "-" if oldest is None else f"{_age(oldest)} ago"),
        ("reader", "active" if facts["reader_active"] else "none"),
        ("rate", f"{reader.get('rate_per_s', 0)} messages/s" if reader else "-"),
        ("last error", error or "-"),
        ("pushed", f"{totals['pushed']:,}"),
        ("accepted", f"{totals['accepted']:,}"),
        ("dropped by rules", f"{totals['dropped']:,}"),
        ("dropped for room", f"{totals['trimmed']:,}"),
        ("dead letters", f"{facts['dead_letters']:,}"),
    ]
    for name, value in rows:
        table.add_row(name, Text(value))
    for rule in facts["blacklist"]:
        matched = {
            name: value
            for name, value in rule.items()
            if value is not None and name not in ("added", "last_seen", "dropped")
        }
        table.add_row("rule", Text(f"{json.dumps(matched)} dropped {rule['dropped']:,}"))
    return table


@main.command()
@_options(*QUEUE_FIELDS)
@click.option(
    "-n",
    "--lines",
    type=click.IntRange(min=1),
    default=10,
    show_default=True,
    help="How many messages.",
)
@click.option("--dead", is_flag=True, help="Show dead letters, with the server's reply.")
@click.option("--body", is_flag=True, help="Show bodies whole.")
def tail(config_file: Any, lines: int, dead: bool, body: bool, **options: Any) -> None:
    """Show the oldest messages of the queue, one JSON object a line, or the last dead letters."""
    with _queue(config_file, options) as queue:
        rows = DeadLetters(queue.files).list()[-lines:] if dead else queue.read(limit=lines)
        for row in rows:
            click.echo(json.dumps(_shown(row, whole=body)))


def _shown(row: Any, *, whole: bool) -> dict[str, Any]:
    values = {name: row[name] for name in row.keys()}  # noqa: SIM118 - a Row iterates its values
    try:
        text = inflate(values.pop("data")).decode("utf-8", "backslashreplace")
    except (ValueError, TypeError) as error:
        text = f"({error})"
    values["data"] = text if whole or len(text) <= 200 else text[:200] + "..."
    for name in ("body", "reqid"):
        if isinstance(values.get(name), bytes):
            values[name] = values[name].decode("utf-8", "backslashreplace")
    if "headers" in values:
        values["headers"] = json.loads(values["headers"])
    return values


@main.command()
@_options(*QUEUE_FIELDS)
@click.argument("category")
@click.argument("data_type")
@click.argument("data_version")
@click.argument("data", type=click.File("r", encoding="utf-8"), default="-")
@click.option("--reqid", help="Request id; made when not given. Not with --lines.")
@click.option("--lines", is_flag=True, help="Push every line as a message of its own.")
def push(
    config_file: Any,
    category: str,
    data_type: str,
    data_version: str,
    data: Any,
    reqid: str | None,
    lines: bool,
    **options: Any,
) -> None:
    """Push JSON text from a file or standard input."""
    from infi.ramen_client.queue_writer import QueueWriter

    if lines and reqid:
        raise click.UsageError("one --reqid cannot be that of several --lines")
    try:
        text = data.read()
    except ValueError as error:
        raise click.UsageError(f"{data.name} is not UTF-8 text: {error}") from error
    texts = [line for line in text.split("\n") if line.strip()] if lines else [text]
    for number, each in enumerate(texts, 1):
        try:
            json.loads(each)
        except (ValueError, RecursionError) as error:
            where = f"message {number} of {data.name}" if lines else data.name
            raise click.UsageError(
                f"{where} is not JSON, nothing was pushed: {error}; the server would refuse it"
            ) from error
    with QueueWriter(_writer_config(config_file, options)) as writer:
        try:
            count = writer.push_many(
                (category, data_type, data_version, each, reqid) for each in texts
            )
        except AssertionError as error:
            raise click.UsageError(str(error)) from error
        click.echo(f"pushed {count}, {writer.queue_size()} in the queue")


@main.command()
@_options(*QUEUE_FIELDS, *SERVER_FIELDS)
@click.option("--follow", is_flag=True, help="Go on until Ctrl-C.")
def drain(config_file: Any, follow: bool, **options: Any) -> None:
    """Send what is in the queue; exit with 1 when something is left."""
    from infi.ramen_client.queue_reader import QueueReader
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    config = _reader_config(config_file, options)
    columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    progress = Progress(*columns, console=Console(stderr=True), transient=True)

    def on_event(name: str, **_: Any) -> None:
        if name in ("accepted", "dropped", "dead"):
            progress.advance(task)

    with QueueReader(config, on_event=on_event) as reader, progress:
        task = progress.add_task("sending", total=reader.queue_size())
        try:
            reader.run(blocking=follow)
        except AutheticationError as error:
            raise click.ClickException(f"the server refuses the token: {error}") from error
        except KeyboardInterrupt:
            click.echo("stopped", err=True)
        stats, left = reader.stats, reader.queue_size()
    click.echo(
        f"accepted {stats.accepted}, dropped {stats.dropped}, set aside {stats.dead}, left {left}"
    )
    if left and not follow:
        click.echo(f"last error: {stats.last_error or 'another reader is active'}", err=True)
        sys.exit(1)


@main.command()
@_options(*QUEUE_FIELDS)
@click.argument("numbers", nargs=-1, type=int)
@click.option("--all", "every", is_flag=True, help="All dead letters.")
@click.option("--delete", is_flag=True, help="Delete instead of putting back.")
def requeue(
    config_file: Any, numbers: tuple[int, ...], every: bool, delete: bool, **options: Any
) -> None:
    """Put dead letters back into the queue, by their number, under the same request ids."""
    if bool(numbers) == every:
        raise click.UsageError("give numbers (see `tail --dead`) or --all")
    with _queue(config_file, options) as queue:
        dead = DeadLetters(queue.files)
        rows = [row for row in dead.list() if every or row["number"] in numbers]
        missing = set(numbers) - {row["number"] for row in rows}
        if missing:
            raise click.ClickException(f"no dead letter {', '.join(map(str, sorted(missing)))}")
        if not delete:
            queue.push_many(
                [
                    (
                        row["category"],
                        row["data_type"],
                        row["data_version"],
                        row["reqid"],
                        row["data"],
                    )
                    for row in rows
                ]
            )
            queue.ring()
        dead.remove(row["number"] for row in rows)
        click.echo(f"{'deleted' if delete else 'requeued'} {len(rows)}")


@main.command()
@_options(*QUEUE_FIELDS)
@click.option("--repair", is_flag=True, help="Correct the counters, and finish a salvage.")
def doctor(config_file: Any, repair: bool, **options: Any) -> None:
    """Check a queue from end to end; exit with 1 when something is wrong."""
    with _queue(config_file, options) as queue:
        files = queue.files
        problems = [f"database: {text}" for text in queue.check()]
        counters = queue.counters()
        if counters["rows"] != (counted := queue.count_rows()):
            problems.append(f"counters: {counters['rows']} messages counted, {counted} are there")
            if repair:
                queue.recount()
        if remote := files.remote_filesystem():
            problems.append(f"folder: {remote} is a network file system; locks may not hold there")
        problems += [
            f"mode: {path} is {mode:04o}, others may reach it" for path, mode in files.loose_modes()
        ]
        if os.path.isdir(files.quarantine):
            folders = sorted(os.listdir(files.quarantine))
            problems.append(
                f"quarantine: {len(folders)} damaged copies in {files.quarantine}; delete them when "
                "they are no longer of interest"
            )
        if not os.path.exists(files.reserve) and not queue.reserve():
            problems.append("reserve: there is no room for it; the disk is nearly full")
        for problem in problems:
            click.echo(problem)
        if problems:
            sys.exit(1)
        click.echo(f"{files.database} is sound: {counted} messages")


@main.command("test-connection")
@_options(*QUEUE_FIELDS, *SERVER_FIELDS)
def test_connection(config_file: Any, **options: Any) -> None:
    """Send one test message; exit with 1 when the server does not accept it."""
    from infi.ramen_client.queue_reader import QueueReader

    config = _reader_config(config_file, options)
    with QueueReader(config) as reader:
        accepted = reader.test_connection()
    if not accepted:
        raise click.ClickException(f"{config.hostname} did not accept the test message")
    click.echo(f"{config.hostname} accepts messages of {config.sender}")
