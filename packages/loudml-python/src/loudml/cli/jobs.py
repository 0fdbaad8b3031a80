"""Commands about jobs and scheduled jobs."""

from __future__ import annotations

import click

from loudml.cli.session import Session, pass_session, read_file
from loudml.tables import format_jobs, job_rows

__all__ = [
    "cancel_job",
    "create_scheduled_job",
    "delete_scheduled_job",
    "list_jobs",
    "list_scheduled_jobs",
]


@click.command()
@pass_session
def list_jobs(session: Session) -> None:
    """List the jobs, those that ended a short time ago included."""
    jobs = list(session.loud.jobs.generator(fields=["result"], include_fields=False))
    session.table(job_rows(jobs), lambda: format_jobs(jobs))


@click.command()
@click.argument("job_id")
@pass_session
def cancel_job(session: Session, job_id: str) -> None:
    """Cancel a job."""
    session.loud.jobs.cancel_job(job_id)


@click.command()
@click.argument("scheduled_job_file")
@click.option("-f", "--force", is_flag=True, help="Replace a scheduled job of the same name.")
@pass_session
def create_scheduled_job(session: Session, scheduled_job_file: str, force: bool) -> None:
    """Create the scheduled job described in a YAML or JSON file."""
    settings = read_file(scheduled_job_file)
    scheduled_jobs = session.loud.scheduled_jobs
    if force and scheduled_jobs.exists(settings["name"]):
        scheduled_jobs.delete(settings["name"])
    scheduled_jobs.create(settings)


@click.command()
@click.argument("scheduled_job_name")
@pass_session
def delete_scheduled_job(session: Session, scheduled_job_name: str) -> None:
    """Delete a scheduled job."""
    session.loud.scheduled_jobs.delete(scheduled_job_name)


@click.command()
@click.option("-a", "--all", "show_all", is_flag=True, help="All settings, as YAML.")
@pass_session
def list_scheduled_jobs(session: Session, show_all: bool) -> None:
    """List the scheduled jobs, one name a line."""
    if show_all:
        session.yaml(list(session.loud.scheduled_jobs.generator()))
        return
    listed = session.loud.scheduled_jobs.generator(fields=["name"], include_fields=True)
    session.names(job["name"] for job in listed)
