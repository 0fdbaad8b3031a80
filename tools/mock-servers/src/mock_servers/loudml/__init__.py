"""Mock Loud ML server 1.6: models, templates, jobs, scheduled jobs and buckets over REST, on one or several nodes.

Training fits a seasonal model to the points it was given, and predictions and anomaly scores come from that fit.
"""

from mock_servers.loudml.server import LoudmlNode, LoudmlServer

__all__ = ["LoudmlNode", "LoudmlServer"]
