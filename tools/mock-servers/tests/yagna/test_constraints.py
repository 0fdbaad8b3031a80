import pytest
from hypothesis import given
from hypothesis import strategies as st
from mock_servers.yagna.constraints import ConstraintError, matches

OFFER = {
    "golem.inf.mem.gib": 4.0,
    "golem.inf.cpu.threads": 4,
    "golem.runtime.name": "vm",
    "golem.runtime.capabilities": ["inet", "vpn"],
    "golem.srv.caps.multi-activity": True,
    "golem.com.payment.protocol.version": 3,
    "golem.node.debug.subnet": "public",
}


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("", True),
        ("()", True),
        ("(golem.runtime.name=vm)", True),
        ("(golem.runtime.name=wasm)", False),
        ("(golem.runtime.name=v*)", True),
        ("(golem.runtime.name=*m)", True),
        ("(golem.runtime.name=*)", True),
        ("(golem.missing=*)", False),
        ("(!(golem.missing=*))", True),
        ("(golem.inf.mem.gib>=4)", True),
        ("(golem.inf.mem.gib>4)", False),
        ("(golem.inf.mem.gib<=3.9)", False),
        ("(golem.inf.mem.gib<5)", True),
        ("(golem.inf.cpu.threads=4.0)", True),
        ("(golem.runtime.capabilities=vpn)", True),
        ("(golem.runtime.capabilities=gpu)", False),
        ("(golem.srv.caps.multi-activity=true)", True),
        ("(golem.com.payment.protocol.version>1)", True),
        ("(golem.runtime.name>=1)", False),
        ("(&(golem.runtime.name=vm)\n\t(golem.inf.mem.gib>=0.5))", True),
        ("(&(golem.runtime.name=vm)(golem.inf.mem.gib>=8))", False),
        ("(|(golem.runtime.name=wasm)(golem.inf.mem.gib>=1))", True),
        ("(&)", True),
        ("(|)", False),
    ],
)
def test_filter_selects_what_the_market_would(expression, expected):
    assert matches(expression, OFFER) is expected


@pytest.mark.parametrize("expression", ["(", "golem.a=b", "(&(a=b)", "(=b)"])
def test_malformed_filter_is_refused(expression):
    with pytest.raises(ConstraintError, match="cannot parse constraints"):
        matches(expression, OFFER)


names = st.from_regex(r"[a-z][a-z.]{0,8}", fullmatch=True)
values = st.from_regex(r"[a-z0-9]{1,8}", fullmatch=True)


@given(st.dictionaries(names, values, min_size=1))
def test_conjunction_of_own_properties_always_matches(properties):
    terms = "".join(f"({name}={value})" for name, value in properties.items())
    assert matches(f"(&{terms})", properties)
    assert not matches(f"(!(&{terms}))", properties)
    assert matches(f"(|{terms})", properties)
