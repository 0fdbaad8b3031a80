"""A bounded run of the chaos suite of the Golem service; ``hatch run golem:chaos --runs 20`` runs longer."""

import logging
import os
import pathlib
import sys

import pytest

sys.path.append(str(pathlib.Path(__file__).parent))
import golem_chaos

SEED = int(os.environ.get("CHAOS_SEED", "1"))
SECONDS = float(os.environ.get("CHAOS_SECONDS", "12"))


@pytest.mark.timeout(SECONDS + 150)
def test_every_request_has_one_outcome_and_none_is_lost_or_done_twice():
    logging.disable(logging.CRITICAL)
    try:
        broken, report = golem_chaos.run(SEED, SECONDS)
    finally:
        logging.disable(logging.NOTSET)
    assert not broken, report
