"""Historic import path of :mod:`loudml.dates` and :mod:`loudml.tables`."""

from loudml.dates import *  # noqa: F403
from loudml.tables import format_buckets as format_buckets
from loudml.tables import format_jobs as format_jobs
from loudml.tables import format_model_versions as format_model_versions
from loudml.tables import format_points as format_points
