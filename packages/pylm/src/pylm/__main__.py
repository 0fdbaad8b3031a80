"""The command ``pylm``: keys, check, run, role, client, top, graph, deploy."""

from __future__ import annotations

import contextlib
import pathlib
import time
from typing import Any

import click
import transport_utils.errors
import zmq

from pylm._version import __version__
from pylm.cluster.config import Cluster, load

__all__ = ["main"]


class _Commands(click.Group):
    """Says an error of pylm in one line instead of a traceback."""

    def invoke(self, context: click.Context) -> Any:
        """Run the command."""
        try:
            return super().invoke(context)
        except (transport_utils.errors.TransportError, OSError, zmq.ZMQError) as error:
            raise click.ClickException(str(error)) from error


@click.group(cls=_Commands)
@click.version_option(__version__, prog_name="pylm")
def main() -> None:
    """Clusters of ZeroMQ microservices: check, run, watch and deploy what a cluster file describes."""


FILE = click.argument("file", type=click.Path(exists=True, dir_okay=False))


def _sound(path: str, *, imports: bool = True) -> Cluster:
    from pylm.cluster.check import require_sound

    cluster = load(path)
    require_sound(cluster, imports=imports)
    return cluster


@main.group()
def keys() -> None:
    """CURVE keys: with them every socket is encrypted and plain peers are refused."""


@keys.command("new")
@click.argument("folder", type=click.Path(file_okay=False))
def keys_new(folder: str) -> None:
    """Make the keys of a cluster in FOLDER: one pair for servers and workers, one for clients, and the allow-list."""
    import shutil

    from pylm.security import create_keys

    public, _ = create_keys(folder, "server")
    client, _ = create_keys(folder, "client")
    allowed = pathlib.Path(folder, "allowed")
    allowed.mkdir(exist_ok=True)
    for key in (public, client):
        shutil.copy(key, allowed)
    click.echo(
        f"keys of servers and clients are in {folder}; whoever has a key in {allowed} may connect"
    )


@keys.command("show")
@click.argument("folder", type=click.Path(exists=True, file_okay=False))
def keys_show(folder: str) -> None:
    """Print the public keys in FOLDER and in its allow-list; never a secret one."""
    import zmq.auth

    for path in sorted(pathlib.Path(folder).rglob("*.key")):
        public, _ = zmq.auth.load_certificate(path)
        click.echo(f"{path.relative_to(folder)}  {public.decode()}")


@main.command()
@FILE
@click.option("--no-imports", is_flag=True, help="Do not import the classes.")
def check(file: str, no_imports: bool) -> None:
    """Say what is wrong with a cluster FILE; exit with 1 if anything is."""
    from pylm.cluster.check import check as find

    problems = find(load(file), imports=not no_imports)
    for problem in problems:
        click.echo(problem, err=True)
    if problems:
        raise SystemExit(1)
    cluster = load(file)
    click.echo(
        f"{cluster.name}: {len(cluster.servers)} servers, {len(cluster.instances())} processes: sound"
    )


@main.command()
@FILE
@click.option(
    "--until-clients-end", is_flag=True, help="Stop when every client of the file has ended."
)
def run(file: str, until_clients_end: bool) -> None:
    """Run every process of a cluster FILE on this machine, restarting what dies; Ctrl-C drains and stops."""
    from pylm.cluster.supervise import Supervisor

    supervisor = Supervisor(_sound(file), click.echo)
    raise SystemExit(supervisor.run(until_clients_end=until_clients_end))


@main.command("role")
@FILE
@click.argument("name")
@click.option("--bind", default="", help="Host to bind to instead of the file's.")
@click.option(
    "--hosts",
    type=click.Choice(["file", "names"]),
    default="file",
    show_default=True,
    help="Find servers at the file's host, or at hosts called like them.",
)
def run_role(file: str, name: str, bind: str, hosts: str) -> None:
    """Run one process of a cluster FILE: a server's NAME, or MASTER-worker-N."""
    from pylm.cluster.deploy import slug
    from pylm.cluster.role import make_role

    cluster = load(file)
    make_role(cluster, name, bind=bind, hosts=slug if hosts == "names" else None).start()


@main.command("client")
@FILE
@click.argument("name")
def run_client(file: str, name: str) -> None:
    """Run the client function NAME of a cluster FILE."""
    from pylm.cluster.role import run_client as call

    call(load(file), name)


@main.command()
@FILE
@click.option("--once", is_flag=True, help="Print one table and end.")
@click.option("--json", "as_json", is_flag=True, help="Print each reading as a line of JSON.")
@click.option("--interval", default=1.0, show_default=True, help="Seconds between readings.")
def top(file: str, once: bool, as_json: bool, interval: float) -> None:
    """Watch the servers of a cluster FILE: rates, queues, latencies, workers; Ctrl-C ends."""
    from rich.console import Console
    from rich.live import Live

    from pylm.cluster.watch import Watch, as_line, table

    cluster = load(file)
    watch = Watch(cluster)
    if as_json:
        with contextlib.suppress(KeyboardInterrupt, BrokenPipeError):
            while True:
                print(as_line(cluster, watch.read()), flush=True)
                if once:
                    return
                time.sleep(interval)
        return
    if once:
        Console(width=140).print(table(cluster, watch.read()))
        return
    try:
        with Live(table(cluster, watch.read()), refresh_per_second=4) as live:
            while True:
                time.sleep(interval)
                live.update(table(cluster, watch.read()))
    except KeyboardInterrupt:
        return


@main.command()
@FILE
@click.option(
    "--output", "-o", type=click.Path(dir_okay=False), help="SVG file; else standard output."
)
@click.option(
    "--live", is_flag=True, help="Ask the running servers for their rates, over one second."
)
def graph(file: str, output: str | None, live: bool) -> None:
    """Draw the topology of a cluster FILE as SVG."""
    from pylm.cluster.watch import Watch, draw

    cluster = load(file)
    readings = None
    if live:
        watch = Watch(cluster)
        watch.read()
        time.sleep(1.0)
        readings = watch.read()
    picture = draw(cluster, readings)
    if output:
        pathlib.Path(output).write_text(picture, "utf-8")
        click.echo(f"wrote {output}")
    else:
        click.echo(picture, nl=False)


@main.group()
def deploy() -> None:
    """Bring a cluster file to an engine that runs processes on other machines."""


IMAGE = click.option("--image", default="pylm-cluster", show_default=True, help="Container image.")
FOLDER = click.option(
    "--folder", default="/cluster", show_default=True, help="Of the file, over there."
)


@deploy.command("compose")
@FILE
@IMAGE
@FOLDER
def deploy_compose(file: str, image: str, folder: str) -> None:
    """Print a Compose file for a cluster FILE."""
    from pylm.cluster.deploy import compose

    click.echo(compose(_sound(file, imports=False), image, folder), nl=False)


@deploy.command("k8s")
@FILE
@IMAGE
@FOLDER
def deploy_k8s(file: str, image: str, folder: str) -> None:
    """Print Kubernetes objects for a cluster FILE."""
    from pylm.cluster.deploy import k8s

    click.echo(k8s(_sound(file, imports=False), image, folder), nl=False)


@deploy.command("systemd")
@FILE
@click.option("--folder", default="/etc/pylm", show_default=True, help="Of the file, over there.")
@click.option("--output", "-o", type=click.Path(file_okay=False), required=True)
def deploy_systemd(file: str, folder: str, output: str) -> None:
    """Write systemd units for a cluster FILE into the folder OUTPUT."""
    from pylm.cluster.deploy import systemd

    place = pathlib.Path(output)
    place.mkdir(parents=True, exist_ok=True)
    units = systemd(_sound(file, imports=False), folder)
    for name, text in units.items():
        (place / name).write_text(text, "utf-8")
    click.echo(f"wrote {len(units)} units to {place}")


@deploy.command("dask")
@FILE
@click.option("--scheduler", help="Address of the scheduler; else a cluster on this machine.")
def deploy_dask(file: str, scheduler: str | None) -> None:
    """Run a cluster FILE on a Dask cluster until Ctrl-C; needs the extra dask."""
    try:
        import distributed
    except ImportError as error:
        raise click.ClickException("this needs the extra: pip install pylm[dask]") from error
    from pylm.cluster.dask import DaskCluster

    cluster = _sound(file)
    with distributed.Client(scheduler) as client, DaskCluster(cluster, client).running() as running:
        places = ", ".join(f"{name} at {host}" for name, host in running.hosts.items())
        click.echo(f"{cluster.name} runs: {places}; Ctrl-C stops it")
        try:
            while True:
                time.sleep(1.0)
        except KeyboardInterrupt:
            click.echo("stopping")


if __name__ == "__main__":
    main()
