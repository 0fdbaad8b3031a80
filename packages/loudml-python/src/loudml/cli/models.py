"""Commands about models and their versions."""

from __future__ import annotations

import click

from loudml.cli.session import Session, pass_session, read_file
from loudml.cli.status import Failed
from loudml.tables import format_model_versions, version_rows

__all__ = [
    "create_model",
    "delete_model",
    "list_model_versions",
    "list_models",
    "load_model_version",
    "show_model",
]


@click.command()
@click.argument("model_file")
@click.option("-t", "--template-name", help="Template; MODEL_FILE then holds its variables.")
@click.option("-f", "--force", is_flag=True, help="Replace a model; its training is lost!")
@pass_session
def create_model(session: Session, model_file: str, template_name: str | None, force: bool) -> None:
    """Create the model described in a YAML or JSON file."""
    settings = read_file(model_file)
    models = session.loud.models
    if force and models.exists(settings["name"]):
        models.delete(settings["name"])
    models.create(settings, from_template=template_name)


@click.command()
@click.argument("model_name")
@pass_session
def delete_model(session: Session, model_name: str) -> None:
    """Delete a model."""
    session.loud.models.delete(model_name)


@click.command()
@click.option("-a", "--all", "show_all", is_flag=True, help="Settings and state, as YAML.")
@pass_session
def list_models(session: Session, show_all: bool) -> None:
    """List the models, one name a line."""
    if show_all:
        session.yaml(list(session.loud.models.generator()))
        return
    listed = session.loud.models.generator(fields=["state"], include_fields=False)
    session.names(model["settings"]["name"] for model in listed)


@click.command()
@click.argument("model_name")
@click.option("-a", "--all", "show_all", is_flag=True, help="State, too.")
@pass_session
def show_model(session: Session, model_name: str, show_all: bool) -> None:
    """Show the settings of a model as YAML."""
    hidden = {} if show_all else {"fields": ["state"], "include_fields": False}
    found = session.loud.models.get([model_name], **hidden)
    if not found:
        raise Failed(f"Not found: {model_name}")
    session.yaml(found[0])


@click.command()
@click.argument("model_name")
@click.option("-a", "--all", "show_all", is_flag=True, help="Settings, too, as YAML.")
@pass_session
def list_model_versions(session: Session, model_name: str, show_all: bool) -> None:
    """List the trained versions of a model."""
    generator = session.loud.models.versions.generator
    if show_all:
        session.yaml(list(generator(model_name)))
        return
    versions = list(generator(model_name, fields=["state", "version"], include_fields=True))
    session.table(version_rows(versions), lambda: format_model_versions(versions))


@click.command()
@click.argument("model_name")
@click.argument("version_name")
@pass_session
def load_model_version(session: Session, model_name: str, version_name: str) -> None:
    """Make a version of a model the active one."""
    session.loud.models.versions.load(model_name, version=version_name)
