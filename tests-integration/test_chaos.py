"""A bounded run of the chaos suite; ``python tests-integration/chaos.py --runs 20`` runs longer."""

import logging
import os
import sys

import pytest

sys.path.append(__file__.rpartition("/")[0])
import chaos

SEED = int(os.environ.get("CHAOS_SEED", "1"))
SECONDS = float(os.environ.get("CHAOS_SECONDS", "12"))


@pytest.mark.timeout(SECONDS + 150)
def test_nothing_acknowledged_is_lost_and_nothing_is_done_twice(caplog):
    caplog.set_level(logging.CRITICAL, "ramen_client")
    caplog.set_level(logging.CRITICAL, "loudml")
    broken, report = chaos.run(SEED, SECONDS)
    assert not broken, report
