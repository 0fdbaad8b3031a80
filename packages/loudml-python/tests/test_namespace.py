"""Query parameters, paths and required arguments."""

import datetime
from urllib.parse import parse_qsl, unquote, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st
from loudml import ConnectionError, Loud
from loudml.connection.backend import encode_query
from loudml.utils import SKIP_IN_PATH, NamespacedClient, _escape, _make_path, query_params

WHEN = datetime.datetime(2020, 1, 2, 3, 4, 5)
names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)


class Recorder(NamespacedClient):
    def __init__(self):
        self.calls = []

    @query_params("b", "a", "from", "continue")
    def call(self, name, params=None):
        self.calls.append((name, params))
        return list(params)


@pytest.mark.parametrize(
    ("value", "escaped"),
    [
        (["a", "b"], b"a;b"),
        (("a",), b"a"),
        (True, b"true"),
        (False, b"false"),
        (b"\xff", b"\xff"),
        ("é", b"\xc3\xa9"),
        (1.5, "1.5"),
        (None, "None"),
        (WHEN, b"2020-01-02T03:04:05"),
        (WHEN.date(), b"2020-01-02"),
    ],
)
def test_values_are_written_as_the_server_reads_them(value, escaped):
    assert _escape(value) == escaped


def test_a_list_of_anything_but_text_is_refused():
    with pytest.raises(TypeError):
        _escape([1, 2])


@pytest.mark.parametrize(
    ("parts", "path"),
    [
        (("models", ["a", "b"], "_start"), "/models/a%3Bb/_start"),
        (("jobs", None, ""), "/jobs"),
        ((), "/"),
        (("x", "a/b", "ü", "a b", "a,*", "1+1", b"raw"), "/x/a%2Fb/%C3%BC/a%20b/a,*/1%2B1/raw"),
    ],
)
def test_paths_skip_what_is_not_given_and_encode_the_rest(parts, path):
    assert _make_path(*parts) == path


@given(st.lists(names.filter(lambda name: name not in (".", "..")), min_size=1))
def test_every_name_comes_back_from_a_path(parts):
    assert [unquote(part) for part in _make_path(*parts).split("/")[1:]] == parts


@pytest.mark.parametrize("name", [".", "..", b"..", [".."]])
def test_names_that_would_leave_the_path_are_refused(name):
    with pytest.raises(ValueError, match="cannot be a name"):
        _make_path("models", name)


def test_parameters_go_in_the_order_that_is_declared():
    recorder = Recorder()
    keywords = {"_continue": True, "_from": 1, "pretty": True, "a": 1, "b": ["x", "y"]}
    assert recorder.call("n", ignore=404, request_timeout=2, params={"z": 0}, **keywords) == [
        *("z", "b", "a", "pretty"),
        *("ignore", "request_timeout", "from", "continue"),
    ]
    assert recorder.calls == [
        (
            "n",
            {
                "z": 0,
                "b": b"x;y",
                "a": "1",
                "pretty": b"true",
                "ignore": 404,
                "request_timeout": 2,
                "from": 1,
                "continue": True,
            },
        )
    ]


def test_none_leaves_a_parameter_out_and_the_callers_params_alone():
    recorder = Recorder()
    given_params = {"x": 1}
    assert recorder.call("n", a=None, _from=None, params=given_params) == ["x"]
    assert recorder.call("n", params=None) == []
    recorder.calls[0][1].clear()
    assert given_params == {"x": 1}


def test_unknown_keywords_are_refused():
    with pytest.raises(TypeError, match="unexpected keyword argument 'other'"):
        Recorder().call("n", other=1)


@given(
    st.dictionaries(
        names, st.one_of(names, st.integers(), st.booleans(), st.binary().map(bytes), st.none())
    )
)
def test_queries_are_those_of_the_standard_library(params):
    assert encode_query(params) == urlencode(params)


@given(st.dictionaries(names, names))
def test_queries_can_be_read_back(params):
    assert dict(parse_qsl(encode_query(params), keep_blank_values=True)) == params


@pytest.mark.parametrize("empty", SKIP_IN_PATH)
@pytest.mark.parametrize(
    ("group", "method", "argument"),
    [
        ("models", "exists", "model_name"),
        ("models", "delete", "model_name"),
        ("models", "train", "model_name"),
        ("models", "eval_model", "model_name"),
        ("models", "forecast", "model_name"),
        ("models", "start_inference", "model_names"),
        ("models", "stop_inference", "model_names"),
        ("jobs", "exists", "job_name"),
        ("jobs", "cancel_job", "job_name"),
        ("jobs", "cancel_jobs", "job_names"),
        ("scheduled_jobs", "exists", "scheduled_job_name"),
        ("scheduled_jobs", "delete", "scheduled_job_name"),
        ("templates", "exists", "template_name"),
        ("templates", "delete", "template_name"),
        ("buckets", "exists", "bucket_name"),
        ("buckets", "delete", "bucket_name"),
        ("buckets", "clear", "bucket_name"),
        ("buckets", "read", "bucket_name"),
    ],
)
def test_required_arguments_are_named_when_empty(group, method, argument, empty):
    loud = Loud("127.0.0.1:1", max_retries=0)
    message = f"Empty value passed for a required argument '{argument}'."
    with pytest.raises(ValueError) as error:
        getattr(getattr(loud, group), method)(empty)
    assert str(error.value) == message


def test_version_methods_name_their_arguments_too():
    versions = Loud("127.0.0.1:1", max_retries=0).models.versions
    with pytest.raises(ValueError, match="'model_name'"):
        versions.get("")
    with pytest.raises(ValueError, match="'model_name'"):
        versions.load(None)
    with pytest.raises(ValueError, match="'version_name'"):
        versions.exists("m", "")
    with pytest.raises(ValueError, match="'model_name'"):
        list(versions.generator())


@pytest.mark.parametrize("settings", [None, [], "text", 1])
def test_settings_must_be_a_mapping(settings):
    with pytest.raises(TypeError, match="settings: expected a mapping"):
        Loud("127.0.0.1:1").models.create(settings)


def test_writing_checks_its_arguments_before_it_is_iterated():
    buckets = Loud("127.0.0.1:1", max_retries=0).buckets
    with pytest.raises(ValueError, match="'bucket_name'"):
        buckets.write("", [{}], 1)
    with pytest.raises(ValueError, match="batch_size=0"):
        buckets.write("b", [{}], 0)
    lazy = buckets.write("b", [{}], 1)
    with pytest.raises(ConnectionError):
        next(lazy)


def test_call_with_an_argument_too_many_or_unknown_is_told_the_query_parameters():
    with pytest.raises(TypeError, match=r"takes 1 positional .* got 2; .* b, a, _from, _continue,"):
        Recorder().call("x", "now-1d")
    with pytest.raises(TypeError, match=r"unexpected keyword argument 'from_date'; .* _from,"):
        Recorder().call("x", from_date="now-1d")
    with pytest.raises(TypeError, match="missing 1 required positional argument: 'name'"):
        Recorder().call()


def test_error_of_the_method_itself_stays_what_it_is():
    class Client(NamespacedClient):
        @query_params("a")
        def call(self, *names, params=None, **others):
            raise TypeError(f"mine: {names} {others}")

    with pytest.raises(TypeError, match=r"mine: \('x', 'y'\) \{'b': 1\}"):
        Client(None).call("x", "y", b=1)
