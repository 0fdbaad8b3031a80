"""Clusters described by a file: checked, run on one machine with supervision, rendered or deployed elsewhere."""
