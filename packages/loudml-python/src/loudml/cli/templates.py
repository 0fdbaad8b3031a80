"""Commands about model templates."""

from __future__ import annotations

import click

from loudml.cli.session import Session, pass_session, read_file

__all__ = ["create_model_template", "delete_model_template", "list_model_templates"]


@click.command()
@click.option("-a", "--all", "show_all", is_flag=True, help="All settings, as YAML.")
@pass_session
def list_model_templates(session: Session, show_all: bool) -> None:
    """List the templates, one name a line."""
    if show_all:
        session.yaml(list(session.loud.templates.generator()))
        return
    listed = session.loud.templates.generator(fields=["name"], include_fields=True)
    session.names(template["name"] for template in listed)


@click.command()
@click.argument("template_name")
@click.argument("model_file")
@click.option("-f", "--force", is_flag=True, help="Replace a template of the same name.")
@pass_session
def create_model_template(
    session: Session, template_name: str, model_file: str, force: bool
) -> None:
    """Create a template from a YAML or JSON file of model settings with {{variables}}."""
    settings = read_file(model_file)
    templates = session.loud.templates
    if force and templates.exists(template_name):
        templates.delete(template_name)
    templates.create(settings, name=template_name)


@click.command()
@click.argument("template_name")
@pass_session
def delete_model_template(session: Session, template_name: str) -> None:
    """Delete a template."""
    session.loud.templates.delete(template_name)
