import pytest

from marketdata.core.errors import BadInputError
from marketdata.simulator import faults as faults_module
from marketdata.simulator.faults import GARBAGE, KINDS, Faults, parsed


def test_without_faults_frames_go_as_they_are():
    assert Faults().plan(5) is None
    assert Faults().take_http() is None


@pytest.mark.parametrize(
    ("name", "plan"),
    [
        ("drop", []),
        ("duplicate", [0, 0, 1, 1, 2, 2]),
        ("garbage", [GARBAGE, 0, GARBAGE, 1, GARBAGE, 2]),
    ],
)
def test_a_certain_fault_hits_every_frame(name, plan):
    faults = Faults({name: 1})
    assert faults.plan(3) == plan
    assert faults.snapshot()["done"] == {name: 3}


def test_reorder_changes_places_with_the_next():
    assert Faults({"reorder": 1}).plan(5) == [1, 0, 3, 2, 4]
    assert Faults({"reorder": 1}).plan(1) == [0]


def test_a_probability_hits_about_so_many_and_the_same_with_one_seed():
    plans = [Faults({"drop": 0.1}, seed=5).plan(10_000) for _ in range(2)]
    assert plans[0] == plans[1]
    assert 8_800 < len(plans[0]) < 9_200
    assert plans[0] == sorted(set(plans[0]))


def test_skip_passes_over_batches():
    faults = Faults({"skip": 5})
    assert [faults.plan(3), faults.plan(3), faults.plan(3)] == [[], [2], None]


def test_a_counted_fault_is_used_up():
    faults = Faults({"rst": 2})
    assert [faults.take("rst") for _ in range(3)] == [1, 1, 0]
    assert faults.snapshot()["done"] == {"rst": 2}
    assert "rst" not in faults.snapshot()["active"]


def test_http_faults_come_in_turn():
    faults = Faults({"http_429": 2, "http_502": 1})
    assert [faults.take_http() for _ in range(4)] == ["429", "429", "502", None]


def test_a_passing_fault_wears_off(monkeypatch):
    now = [50.0]
    monkeypatch.setattr(faults_module.time, "monotonic", lambda: now[0])
    faults = Faults({"stall": 3})
    assert faults.value("stall") == 3
    now[0] += 2
    assert faults.value("stall") == 1
    now[0] += 2
    assert faults.value("stall") == 0


def test_zero_ends_a_fault_and_clear_ends_all():
    faults = Faults({"drop": 1, "stall": 5, "retry_after": 7})
    faults.set("drop", 0)
    assert faults.plan(2) is None
    faults.clear()
    assert faults.value("stall") == 0
    assert faults.value("retry_after") == 2


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("nope", 1),
        ("drop", 1.5),
        ("drop", -0.1),
        ("stall", 1e9),
        ("drop", float("nan")),
        ("rst", True),
    ],
)
def test_nonsense_is_refused_and_nothing_of_it_is_set(name, value):
    faults = Faults()
    with pytest.raises(BadInputError):
        faults.update({"duplicate": 1, name: value})
    assert faults.plan(2) is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("drop=0.5", ("drop", 0.5)),
        ("rst", ("rst", 1.0)),
        ("http=429", ("http_429", 1.0)),
        ("http_503=4", ("http_503", 4.0)),
    ],
)
def test_a_fault_is_read_from_the_command_line(text, expected):
    assert parsed(text) == expected
    assert expected[0] in KINDS


def test_a_fault_without_a_number_is_refused():
    with pytest.raises(BadInputError, match="a number expected, seen 'lots'"):
        parsed("drop=lots")
