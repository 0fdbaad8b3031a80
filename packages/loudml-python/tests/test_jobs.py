"""Waiting for jobs, without waiting: answers are scripted, the clock is a fake."""

import asyncio

import pytest
from loudml import JobCanceled, JobFailed, JobTimeout, Loud, Transport, jobs


class ScriptedTransport(Transport):
    """Answers from a list."""

    def __init__(self, hosts, **kwargs):
        super().__init__(hosts, **kwargs)
        self.answers, self.calls = [], []

    def perform_request(self, method, url, headers=None, params=None, body=None):
        self.calls.append((method, url))
        return self.answers.pop(0)


class Clock:
    def __init__(self):
        self.now_s, self.pauses = 0.0, []

    def monotonic(self):
        return self.now_s

    def sleep(self, seconds):
        self.pauses.append(seconds)
        self.now_s += seconds


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(jobs, "time", clock)
    return clock


@pytest.fixture
def loud():
    return Loud(transport_class=ScriptedTransport)


def state(name, **more):
    return [{"id": "abcdefghij", "type": "training", "model": "m", "state": name, **more}]


def test_attributes_before_and_after_a_look(loud):
    job = loud.jobs.id("abcdefghij")
    assert (job.name, job.state, job.error, job.total, job.step) == (
        "abcdefghij",
        None,
        None,
        None,
        0,
    )
    assert repr(job) == "<JobClient abcdefghij not fetched>"
    progress = {"eval": 3.7, "max_evals": 10}
    loud.transport.answers = [
        state("waiting"),
        state("running", progress={"eval": 0, "max_evals": None}),
        state("running", progress=progress, remaining_time=2.5),
        state("done", progress={"eval": 12, "max_evals": 10}),
        [{"id": "a", "type": "read", "state": "done"}],
    ]
    job.fetch()
    assert (job.name, job.state, job.total, job.step) == ("training(m)", "waiting", None, 0)
    job.fetch()
    assert (job.total, job.step) == (None, 0), "a total the server does not know yet is no error"
    job.fetch()
    assert (job.total, job.step, job._remaining_time, job._progress) == (10, 3, 2.5, progress)
    job.fetch()
    assert (job.step, job.done(), job.success()) == (10, True, True)
    other = loud.jobs.id("abcdefghij")
    other.fetch()
    assert (other.name, other.step) == ("read(abcdef)", 1)


def test_wait_sleeps_first_and_calls_back_after_each_look(loud, clock):
    loud.transport.answers = [state("waiting"), state("failed", error="no data")]
    seen = []
    job = loud.jobs.id("a")
    assert job.wait(2, callback=lambda: seen.append(job.state)) is None
    assert clock.pauses == [2, 2]
    assert seen == ["waiting", "failed"]
    assert (job.success(), job.error) == (False, "no data")


@pytest.mark.parametrize(
    ("ended", "kind", "text"),
    [("failed", JobFailed, "failed: no data"), ("canceled", JobCanceled, "was canceled")],
)
def test_wait_raises_what_went_wrong_when_asked(loud, clock, ended, kind, text):
    loud.transport.answers = [state(ended, error="no data")]
    with pytest.raises(kind, match=text) as error:
        loud.jobs.id("the-id").wait(1, check=True)
    assert error.value.job_id == "the-id"


def test_long_intervals_do_not_miss_a_job_that_the_server_forgets(loud, clock):
    loud.transport.answers = [state("running"), state("done")]
    loud.jobs.id("a").wait(3600)
    assert clock.pauses == [30.0, 30.0]


def test_wait_ends_at_its_timeout(loud, clock):
    loud.transport.answers = [state("running", progress={"eval": 1, "max_evals": 5})] * 10
    with pytest.raises(JobTimeout, match=r"training\(m\).*state running, step 1 of 5"):
        loud.jobs.id("a").wait(2, timeout=5)
    assert clock.pauses == [2, 2, 1]


def test_a_canceled_job_that_the_server_turns_back_to_running_has_ended(loud, clock):
    loud.transport.answers = ["", state("canceling"), state("running")]
    job = loud.jobs.id("a")
    job.cancel()
    job.wait(1)
    assert (job.state, job.done()) == ("canceled", True)


def test_a_job_that_stays_canceling_is_given_up_after_a_minute(loud, clock):
    loud.transport.answers = ["", *[state("canceling")] * 100]
    job = loud.jobs.id("a")
    job.cancel()
    with pytest.raises(JobTimeout, match="state canceling"):
        job.wait(1)
    assert sum(clock.pauses) == 60


def test_progress_yields_the_job_at_each_look(loud, clock):
    loud.transport.answers = [state("running"), state("done")]
    assert [job.state for job in loud.jobs.id("a").progress(5)] == ["running", "done"]


def test_async_wait_leaves_the_loop_free(loud):
    loud.transport.answers = [state("running"), state("done"), state("failed", error="x")]
    seen = []

    async def main():
        await loud.jobs.id("a").async_wait(0.001, callback=lambda: seen.append(1))
        with pytest.raises(JobFailed):
            await loud.jobs.id("a").async_wait(0.001, check=True)

    asyncio.run(main())
    assert seen == [1, 1]


def test_all_jobs_are_canceled_before_the_first_failure_is_raised(loudml_server):
    from loudml import NativeHttpConnection, NotFoundError

    with Loud(loudml_server.hosts, connection_class=NativeHttpConnection) as loud:
        with pytest.raises(NotFoundError):
            loud.jobs.cancel_jobs(["a", "b", "c"])
        assert len(loudml_server.traffic.requests) == 3
        assert loud.jobs.cancel_jobs(["x"], ignore=404) == "job not found"
