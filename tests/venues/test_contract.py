"""What every venue promises, whichever it is: found by looking, not by a list."""

import string
from importlib import import_module
from urllib.parse import unquote, urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from marketdata.core.errors import FrameError
from marketdata.venues import VENUES
from marketdata.venues.base import Question, Received
from tests.venues.frames import (
    CHANNELS,
    FRAMES,
    VENUE_NAMES,
    asked,
    flat,
    frame_of,
    rows,
    told,
)

REASONS = {"json", "field", "type", "number", "size", "symbol", "event", "extra"}
STREAM_FILES = ("control", "refused")
SYMBOLS = ["BTCUSDT", "1000SATSUSDT", "币安人生USDT", "A&B=C/D?E #F%G", "<img src=x>"]
DAY_US = 1_759_968_000_000_000
AT_US = 1_760_000_000_000_001


def stream_rows(venue, channel):
    found = rows(venue, channel)
    for file in STREAM_FILES:
        if channel == next(iter(VENUES[venue].channels)):
            found += rows(venue, file)
    return found


def cases(read, places):
    """Return one test parameter a line of the files, named by the line."""
    return [
        pytest.param(*place, row, id=f"{'-'.join(place)}: {row['name']}")
        for place in places
        for row in read(*place)
    ]


STREAMED = cases(stream_rows, CHANNELS)
ASKED = cases(lambda venue: rows(venue, "rest"), [(name,) for name in VENUE_NAMES])


@pytest.mark.parametrize(("venue", "channel", "row"), STREAMED)
def test_each_frame_comes_to_what_stands_beside_it(venue, channel, row):
    received = VENUES[venue].channels[channel].decode([frame_of(row)], frozenset(row["symbols"]))
    assert told(received) == {key: row[key] for key in ("trades", "controls", "errors")}


@pytest.mark.parametrize(("venue", "row"), ASKED)
def test_each_answer_comes_to_what_stands_beside_it(venue, row):
    body = row["body"].encode()
    if row["error"] is None:
        assert asked(venue, row, body) == row["expected"]
    else:
        with pytest.raises(FrameError) as raised:
            asked(venue, row, body)
        assert raised.value.reason == row["error"], raised.value.detail
        assert raised.value.raw == body[:2000]


@pytest.mark.parametrize(("venue", "channel"), CHANNELS)
def test_all_frames_in_one_drain_come_to_the_sum_of_each_alone(venue, channel):
    known = stream_rows(venue, channel)
    symbols = frozenset(symbol for row in known for symbol in row["symbols"])
    decode = VENUES[venue].channels[channel].decode
    frames = [frame_of(row) for row in known]
    together = decode(frames, symbols)
    alone = [decode([frame], symbols) for frame in frames]
    for symbol in symbols:
        each = [
            trade for one in alone if symbol in one.trades for trade in flat(one.trades[symbol])
        ]
        assert (flat(together.trades[symbol]) if symbol in together.trades else []) == each
    assert together.controls == [control for one in alone for control in one.controls]
    assert refused(together) == [error for one in alone for error in refused(one)]
    # Fields that nobody knows are noted once a drain, or a venue's new field would drown the rest.
    assert 1 <= len(together.errors) - len(refused(together)) <= len(frames)


def refused(received):
    return [(error.reason, error.raw) for error in received.errors if error.reason != "extra"]


def test_there_are_frames_of_every_venue_and_channel():
    for venue, channel in CHANNELS:
        reasons = {reason for row in stream_rows(venue, channel) for reason in row["errors"]}
        assert any(row["trades"] for row in rows(venue, channel))
        assert reasons <= REASONS
    folders = {folder.name for folder in FRAMES.iterdir() if folder.is_dir()}
    assert folders == {VENUES[name].key for name in VENUE_NAMES}


# Pieces that break parsers, put where a value stands or anywhere at all.
POISON = [
    b"NaN", b"-Infinity", b"1e999", b"-0", b"9" * 400, b"9" * 5000, b"1" + b"0" * 40 + b".5",
    b'"\\ud800"', b'"\\u0000"', b"\xef\xbb\xbf", b"\xff\xfe", b"\xed\xa0\x80",
    b"[" * 3000, b'{"a":' * 3000, b'"' + b"long" * 1000 + b'":1,',
    b"null", b"true", b"{}", b"[]", b'""', b'"NaN"', b'"1e-320"', b"\\", b'"', b",", b"\x00",
    b'"e":"serverShutdown",', b'"result":null,"id":{},', b'"msg":[],', b'"error":{},',
]  # fmt: skip


def _value(data, start, stop, poison):
    colon = data.find(b":", start)
    if colon >= 0:
        ends = [at for at in (data.find(b",", colon), data.find(b"}", colon)) if at >= 0]
        data[colon + 1 : min(ends, default=len(data))] = poison


def _swap(data, start, stop, poison):
    data[start:stop] = data[start:stop][::-1]


def _drop(data, start, stop, poison):
    del data[start:stop]


def _cut(data, start, stop, poison):
    del data[start:]


def _repeat(data, start, stop, poison):
    data[start:start] = data[start:stop] or data


def _insert(data, start, stop, poison):
    data[start:start] = poison


def _overwrite(data, start, stop, poison):
    data[start : start + len(poison)] = poison


@st.composite
def mutated(draw, sources):
    """Return a known frame with bytes dropped, swapped, cut off, repeated or poisoned."""
    data = bytearray(draw(st.sampled_from(sources)))
    changes = [_value, _swap, _drop, _cut, _repeat, _insert, _overwrite]
    for change in draw(st.lists(st.sampled_from(changes), min_size=1, max_size=4)):
        start = draw(st.integers(0, len(data)))
        stop = min(len(data), start + draw(st.integers(0, 12)))
        change(data, start, stop, draw(st.sampled_from(POISON)))
    return bytes(data)


STREAM_SOURCES = {
    (venue, channel): [frame_of(row) for row in stream_rows(venue, channel) if row["frame"]]
    for venue, channel in CHANNELS
}


@pytest.mark.parametrize(("venue", "channel"), CHANNELS)
@given(data=st.data())
@settings(max_examples=400, deadline=None)
def test_decode_never_raises_and_loses_no_frame(venue, channel, data):
    sources = STREAM_SOURCES[venue, channel]
    frames = data.draw(st.lists(st.one_of(mutated(sources), st.sampled_from(sources)), max_size=4))
    symbols = frozenset(["BTCUSDT", "ETHUSDT"])
    received = VENUES[venue].channels[channel].decode(frames, symbols)
    check(received, frames, symbols)


@pytest.mark.parametrize(("venue", "channel"), CHANNELS)
@given(frames=st.lists(st.binary(max_size=40), max_size=3))
@settings(max_examples=100, deadline=None)
def test_noise_is_refused_frame_by_frame(venue, channel, frames):
    received = VENUES[venue].channels[channel].decode(frames, frozenset(["BTCUSDT"]))
    check(received, frames, {"BTCUSDT"})


def check(received, frames, symbols):
    """Each frame is a trade, a control or an error, and each of them is fit for use."""
    assert isinstance(received, Received)
    count = sum(len(trades.checked()) for trades in received.trades.values())
    assert count + len(received.controls) + len(refused(received)) == len(frames)
    assert set(received.trades) <= set(symbols)
    assert all(len(trades) for trades in received.trades.values())
    for error in received.errors:
        assert error.reason in REASONS
        assert 0 < len(error.detail.encode()) < 2000
        assert any(frame.startswith(error.raw) for frame in frames)
    for control in received.controls:
        assert control.kind in {"ack", "refused", "shutdown"}
        assert len(control.detail.encode()) < 2000


@pytest.mark.parametrize("venue", VENUE_NAMES)
@given(data=st.data())
@settings(max_examples=500, deadline=None)
def test_answers_give_a_value_or_a_frame_error(venue, data):
    row = data.draw(st.sampled_from(rows(venue, "rest")))
    sources = [other["body"].encode() for other in rows(venue, "rest")]
    body = data.draw(st.one_of(mutated([row["body"].encode()]), st.sampled_from(sources)))
    answer = answered(venue, row, body)
    if isinstance(answer, FrameError):
        assert answer.reason in REASONS
        assert row["question"] != "error"
    elif row["question"] == "page":
        VENUES[venue].channels[row["args"]["channel"]].by_id.page_of(body).checked()
    elif row["question"] in {"first", "clock"}:
        assert answer is None or answer >= 0


def answered(venue, row, body):
    try:
        return asked(venue, row, body)
    except FrameError as error:
        return error


@pytest.mark.parametrize("count", [1, 2, 5])
@pytest.mark.parametrize(("venue", "channel"), CHANNELS)
def test_a_socket_path_is_ascii_and_names_every_symbol(venue, channel, count):
    path = VENUES[venue].channels[channel].path(SYMBOLS[:count])
    assert path.startswith("/")
    assert set(path) <= set(string.ascii_letters + string.digits + "/?=&@%_.-~!$'()*+,;:")
    assert not urlsplit(path).fragment
    for symbol in SYMBOLS[:count]:
        assert unquote(path).casefold().count(symbol.casefold()) == 1


def questions(venue):
    place = VENUES[venue]
    asked_once = [place.listing(SYMBOLS[2]), place.day(SYMBOLS[2], DAY_US), place.clock()]
    for channel in place.channels.values():
        asked_once += [
            channel.by_id.page(SYMBOLS[2], 12345, place.page_limit),
            channel.by_id.first(SYMBOLS[2], AT_US),
        ]
    return asked_once


@pytest.mark.parametrize("venue", VENUE_NAMES)
def test_questions_are_well_formed(venue):
    for question in questions(venue):
        assert isinstance(question, Question)
        assert question.path.startswith("/")
        assert question.path.isascii()
        assert "?" not in question.path
        assert question.weight > 0
        for name, value in question.params.items():
            assert name.isidentifier()
            assert type(value) in (str, int)


@pytest.mark.parametrize("venue", VENUE_NAMES)
def test_a_venue_is_told_in_sane_numbers(venue):
    place = VENUES[venue]
    assert place.source == venue
    assert place.key.isidentifier()
    assert place.title
    assert place.proof in {"id_exact", "overlap", "cadence", "none"}
    assert place.channels
    assert all(channel.name == name for name, channel in place.channels.items())
    assert 0 < place.server_ping_s < place.life_s
    assert min(place.page_limit, place.streams_per_connection, place.weight_per_minute) > 0


@pytest.mark.parametrize(("venue", "channel"), CHANNELS)
def test_files_of_finished_days_are_named_by_symbol_and_day(venue, channel):
    found = VENUES[venue].channels[channel]
    assert found.time_step_us >= 1
    if found.archive is None:
        return
    assert found.archive.published_s > 0
    for name in (found.archive.path, found.archive.checksum):
        path = name(SYMBOLS[2], "2024-01-01")
        assert path.startswith("/")
        assert path.isascii()
        assert "2024-01-01" in path
        assert SYMBOLS[2] in unquote(path)
    assert found.archive.path("X", "2024-01-01") != found.archive.checksum("X", "2024-01-01")


@pytest.mark.parametrize("venue", VENUE_NAMES)
def test_a_fallback_is_another_host_by_its_base_url(venue):
    for base, other in VENUES[venue].fallbacks.items():
        assert base != other
        for url in (base, other):
            parts = urlsplit(url)
            assert (parts.scheme, parts.path, parts.query) == ("https", "", "")
            assert parts.hostname


def test_every_file_of_a_venue_is_enrolled():
    folder = FRAMES.parent.parent / "marketdata" / "venues"
    modules = (import_module(f"marketdata.venues.{path.stem}") for path in folder.glob("*.py"))
    found = [module.VENUE for module in modules if hasattr(module, "VENUE")]
    assert sorted(venue.source for venue in found) == VENUE_NAMES
    assert all(VENUES[venue.source] is venue for venue in found)
