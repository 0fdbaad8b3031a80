"""Commands that let a model work: training, evaluation, forecast."""

from __future__ import annotations

from typing import Any

import click

from loudml.cli.session import Session, pass_session
from loudml.cli.status import Failed
from loudml.dates import parse_constraint
from loudml.tables import bucket_rows, format_buckets

__all__ = [
    "eval_model",
    "forecast_model",
    "plot_model",
    "start_model",
    "stop_model",
    "train_model",
]


@click.command()
@click.argument("model_name")
@click.option("-f", "--from", "from_date", required=True, help="Start: a date, or now-30d.")
@click.option("-t", "--to", "to_date", default="now", show_default=True, help="End.")
@click.option("-m", "--max-evals", default=10, show_default=True, help="Training iterations.")
@click.option("-e", "--epochs", default=100, show_default=True, help="Most epochs of each.")
@click.option("-c", "--continue", "resume", is_flag=True, help="Go on from the current version.")
@click.option("--bg", is_flag=True, help="Print the id of the job and do not wait.")
@pass_session
def train_model(
    session: Session,
    model_name: str,
    from_date: str,
    to_date: str,
    max_evals: int,
    epochs: int,
    resume: bool,
    bg: bool,
) -> None:
    """Train a model, or with '*' all models one after the other."""
    names = [model_name]
    if model_name == "*":
        listed = session.loud.models.generator(fields=["state"], include_fields=False)
        names = [model["settings"]["name"] for model in listed]
    for name in names:
        job_id = session.loud.models.train(
            name,
            _from=from_date,
            _to=to_date,
            max_evals=max_evals,
            epochs=epochs,
            _continue=resume,
        )
        if bg:
            click.echo(job_id)
        else:
            session.wait(job_id)


def _time_range(command: Any) -> Any:
    """Add the options that evaluation and forecast share."""
    for option in reversed(
        (
            click.option("-f", "--from", "from_date", required=True, help="Start: a date, or now."),
            click.option("-t", "--to", "to_date", required=True, help="End: a date, or now+2d."),
            click.option("-i", "--input", "input_bucket", help="Bucket to read from."),
            click.option("-o", "--output", "output_bucket", help="Bucket to write to, with -s."),
            click.option("-s", "--save", is_flag=True, help="Save predictions to the bucket."),
            click.option("--bg", is_flag=True, help="Print the id of the job; do not wait."),
        )
    ):
        command = option(command)
    return command


def _infer(session: Session, start: Any, model_name: str, bg: bool, **options: Any) -> None:
    """Start a job and show its result."""
    if not options["save_output_data"]:
        options["output_bucket"] = None
    job_id = start(model_name, **options)
    if bg:
        click.echo(job_id)
        return
    result = session.wait(job_id).fetch_result()
    session.table(bucket_rows(result), lambda: format_buckets(result), _summary(result))


def _summary(result: dict[str, Any]) -> str | None:
    if not result.get("stats"):
        return None
    found = sum(bool(stats.get("anomaly")) for stats in result["stats"])
    return f"{found} of {len(result['stats'])} points are abnormal"


@click.command()
@click.argument("model_name")
@_time_range
@click.option("-a", "--anomalies", is_flag=True, help="Score each point.")
@pass_session
def eval_model(
    session: Session,
    model_name: str,
    from_date: str,
    to_date: str,
    input_bucket: str | None,
    output_bucket: str | None,
    save: bool,
    bg: bool,
    anomalies: bool,
) -> None:
    """Show what was observed beside what the model expects."""
    _infer(
        session,
        session.loud.models.eval_model,
        model_name,
        bg,
        _from=from_date,
        _to=to_date,
        input_bucket=input_bucket,
        output_bucket=output_bucket,
        save_output_data=save,
        flag_abnormal_data=anomalies,
    )


@click.command()
@click.argument("model_name")
@_time_range
@click.option("-p", "p_val", default=0.68, show_default=True, help="Probability of the band.")
@click.option("-c", "--constraint", help="To be tested: feature:low|high:threshold.")
@pass_session
def forecast_model(
    session: Session,
    model_name: str,
    from_date: str,
    to_date: str,
    input_bucket: str | None,
    output_bucket: str | None,
    save: bool,
    bg: bool,
    p_val: float,
    constraint: str | None,
) -> None:
    """Show what the model expects of the future."""
    if constraint is not None:
        parse_constraint(constraint)
    _infer(
        session,
        session.loud.models.forecast,
        model_name,
        bg,
        _from=from_date,
        _to=to_date,
        input_bucket=input_bucket,
        output_bucket=output_bucket,
        save_output_data=save,
        p_val=p_val,
        constraint=constraint,
    )


@click.command()
@click.argument("model_name")
@pass_session
def start_model(session: Session, model_name: str) -> None:
    """Let the server evaluate new data of a model at each interval, and save what it finds."""
    session.loud.models.start_inference(model_name, save_output_data=True, flag_abnormal_data=True)


@click.command()
@click.argument("model_name")
@pass_session
def stop_model(session: Session, model_name: str) -> None:
    """End what start-model began."""
    session.loud.models.stop_inference(model_name)


@click.command()
@click.argument("model_name")
@click.option("-f", "--from", "from_date", help="Start.")
@click.option("-t", "--to", "to_date", default="now", show_default=True, help="End.")
@click.option("-x", default=-1, show_default=True, help="Dimension of the x axis.")
@click.option("-y", default=-1, show_default=True, help="Dimension of the y axis.")
@click.option("-o", "--output", help="File to write the figure to.")
def plot_model(**options: Any) -> None:
    """Plot the latent space of a model; no server of 1.6 offers the data for it."""
    raise Failed(
        "servers of 1.6 do not give out the latent space of a model; 'eval-model -a' shows what it makes of the data"
    )
