"""What every venue promises, whichever it is: found by looking, not by a list."""

import json
import math
import string
from dataclasses import astuple
from importlib import import_module
from urllib.parse import unquote, urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from marketdata.core.errors import FrameError
from marketdata.core.facts import BookUpdate, Kline, Liquidation, Mark, Quote
from marketdata.core.trades import EARLIEST_US, LARGEST, LATEST_US
from marketdata.venues import VARIANTS, VENUES
from marketdata.venues.base import ById, Newest, Question, Received, Venue
from tests.venues.frames import (
    CHANNELS,
    DEPTH,
    FRAMES,
    PLACES,
    STREAMS,
    VENUE_NAMES,
    asked,
    expected_of,
    flat,
    folder_of,
    frame_of,
    rows,
    stream_of,
    stream_rows,
    told,
)

REASONS = {"json", "field", "type", "number", "size", "symbol", "event", "extra"}
SYMBOLS = ["BTCUSDT", "1000SATSUSDT", "币安人生USDT", "A&B=C/D?E #F%G", "<img src=x>"]
DAY_US = 1_759_968_000_000_000
AT_US = 1_760_000_000_000_001


def cases(read, places):
    """Return one test parameter a line of the files, named by the line."""
    return [
        pytest.param(*place, row, id=f"{'-'.join(place)}: {row['name']}")
        for place in places
        for row in read(*place)
    ]


STREAMED = cases(stream_rows, STREAMS)
ASKED = cases(lambda venue: rows(venue, "rest"), [(name,) for name in VENUE_NAMES])


@pytest.mark.parametrize(("venue", "channel", "row"), STREAMED)
def test_each_frame_comes_to_what_stands_beside_it(venue, channel, row):
    received = stream_of(venue, channel).decode([frame_of(row)], frozenset(row["symbols"]))
    expected = expected_of(row)
    assert {key: value for key, value in told(received).items() if key in expected} == expected


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


@pytest.mark.parametrize(("venue", "channel"), STREAMS)
def test_all_frames_in_one_drain_come_to_the_sum_of_each_alone(venue, channel):
    known = stream_rows(venue, channel)
    symbols = frozenset(symbol for row in known for symbol in row["symbols"])
    decode = stream_of(venue, channel).decode
    frames = [frame_of(row) for row in known]
    together, alone = decode(frames, symbols), [decode([frame], symbols) for frame in frames]
    assert_is_sum(together, alone, symbols)
    # Fields that nobody knows are noted once a drain, or a venue's new field would drown the rest.
    extras = [len(one.errors) - len(refused(one)) for one in (together, *alone)]
    assert min(1, sum(extras[1:])) <= extras[0] <= sum(extras[1:])


def assert_is_sum(together, alone, symbols):
    """Whatever frames come to alone, they come to together and in that order, and to no more."""
    for symbol in symbols:
        each = [
            trade for one in alone if symbol in one.trades for trade in flat(one.trades[symbol])
        ]
        assert (flat(together.trades[symbol]) if symbol in together.trades else []) == each
    assert set(together.trades) <= set(symbols)
    assert together.facts == [fact for one in alone for fact in one.facts]
    assert together.topics == {topic for one in alone for topic in one.topics}
    assert together.controls == [control for one in alone for control in one.controls]
    assert refused(together) == [error for one in alone for error in refused(one)]
    replies = {}
    for one in alone:
        replies |= one.replies
    assert together.replies == replies


def refused(received):
    return [(error.reason, error.raw) for error in received.errors if error.reason != "extra"]


def test_there_are_frames_of_every_venue_and_channel():
    for venue, channel in STREAMS:
        reasons = {reason for row in stream_rows(venue, channel) for reason in row["errors"]}
        carries = "facts" if channel == DEPTH else "trades"
        assert any(row.get(carries) for row in rows(venue, channel))
        assert reasons <= REASONS
    folders = {path.parent for path in FRAMES.glob("*/*.jsonl")}
    assert folders == {folder_of(name) for name in VENUE_NAMES}


@pytest.mark.parametrize(("venue", "channel"), STREAMS)
def test_what_must_speak_after_the_opening_is_heard_in_the_frames(venue, channel):
    stream, symbol = stream_of(venue, channel), PLACES[venue].symbol_hint
    frames = [frame_of(row) for row in stream_rows(venue, channel)]
    awaited = stream.topics([symbol])
    # A watchdog that waits for a word nobody says would tear down a feed that works.
    assert awaited <= stream.decode(frames, frozenset([symbol])).topics
    other = PLACES[venue].symbol_hint + "2"
    assert stream.topics([symbol, other]) == awaited | stream.topics([other])
    assert not awaited & stream.topics([other])


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


def is_dropped(row):
    """Tell whether a frame comes to nothing on purpose: it is no business of this feed."""
    parts = (*expected_of(row).values(), row.get("topics"))
    return not any(parts)


STREAM_SOURCES = {
    (venue, channel): [
        frame_of(row) for row in stream_rows(venue, channel) if row["frame"] and not is_dropped(row)
    ]
    for venue, channel in STREAMS
}


@pytest.mark.parametrize(("venue", "channel"), STREAMS)
@given(data=st.data())
@settings(max_examples=200, deadline=None)
def test_decode_never_raises_and_loses_no_frame(venue, channel, data):
    sources = STREAM_SOURCES[venue, channel]
    frames = data.draw(st.lists(st.one_of(mutated(sources), st.sampled_from(sources)), max_size=4))
    check(stream_of(venue, channel), frames, frozenset([PLACES[venue].symbol_hint, "ETHUSDT"]))


@pytest.mark.parametrize(("venue", "channel"), STREAMS)
@given(frames=st.lists(st.binary(max_size=40), max_size=3))
@settings(max_examples=100, deadline=None)
def test_noise_is_refused_frame_by_frame(venue, channel, frames):
    check(stream_of(venue, channel), frames, frozenset([PLACES[venue].symbol_hint]))


def check(stream, frames, symbols):
    """Each frame comes to something, none takes from another, and all of it is fit for use."""
    together, alone = stream.decode(frames, symbols), []
    assert isinstance(together, Received)
    for frame in frames:
        one = stream.decode([frame], symbols)
        alone.append(one)
        assert len(refused(one)) <= 1
        assert any((one.trades, one.facts, one.controls, one.replies, one.topics, refused(one)))
    assert_is_sum(together, alone, symbols)
    for trades in together.trades.values():
        assert len(trades.checked()) > 0
    assert {symbol for symbol, _ in together.facts} <= symbols
    for _, fact in together.facts:
        check_fact(fact)
    for error in together.errors:
        assert error.reason in REASONS
        assert 0 < len(error.detail.encode()) < 2000
        assert any(frame.startswith(error.raw) for frame in frames)
    for control in together.controls:
        assert control.kind in {"ack", "refused", "shutdown", "pong"}
        assert len(control.detail.encode()) < 2000
    assert all(type(number) is int for number in together.replies)


def check_fact(fact):
    """Nothing infinite, no price or size below zero, no time from another age."""
    pairs = fact.bids + fact.asks if isinstance(fact, BookUpdate) else []
    numbers = [one for one in (*astuple(fact), *sum(pairs, ())) if isinstance(one, int | float)]
    assert all(math.isfinite(number) and abs(number) < LARGEST * 10 for number in numbers)
    assert all(price > 0 and qty >= 0 for price, qty in pairs)
    if isinstance(fact, Kline):
        assert EARLIEST_US <= fact.open_us < LATEST_US
    else:
        assert EARLIEST_US <= fact.ts_us < LATEST_US or fact.ts_us == 0
    above_zero = {
        Quote: ("bid", "ask"),
        Mark: ("mark", "index"),
        Liquidation: ("price", "qty"),
        Kline: ("open", "high", "low", "close"),
    }.get(type(fact), ())
    for name in above_zero:
        value = getattr(fact, name)
        assert value is None or value > 0


@pytest.mark.parametrize("venue", VENUE_NAMES)
@given(data=st.data())
@settings(max_examples=250, deadline=None)
def test_answers_give_a_value_or_a_frame_error(venue, data):
    row = data.draw(st.sampled_from(rows(venue, "rest")))
    sources = [other["body"].encode() for other in rows(venue, "rest")]
    body = data.draw(st.one_of(mutated([row["body"].encode()]), st.sampled_from(sources)))
    answer = answered(venue, row, body)
    if isinstance(answer, FrameError):
        assert answer.reason in REASONS
        assert row["question"] not in {"error", "refusal"}
    elif row["question"] == "page":
        PLACES[venue].channels[row["args"]["channel"]].by_id.page_of(body).checked()
    elif row["question"] == "snapshot":
        check_fact(PLACES[venue].depth.snapshot_of(body))
    elif row["question"] == "newest":
        trades = PLACES[venue].channels[row["args"]["channel"]].past.read(body)
        assert len(trades.checked()) == 0 or trades.ref is not None
    elif row["question"] in {"first", "clock"}:
        assert answer is None or answer >= 0


def answered(venue, row, body):
    try:
        return asked(venue, row, body)
    except FrameError as error:
        return error


@pytest.mark.parametrize("count", [1, 2, 5])
@pytest.mark.parametrize(("venue", "channel"), STREAMS)
def test_a_socket_path_is_ascii_and_names_every_symbol(venue, channel, count):
    """Path and the frames sent first name each symbol, and each as often as any other."""
    stream = stream_of(venue, channel)
    path = stream.path(SYMBOLS[:count])
    assert path.startswith("/")
    assert set(path) <= set(string.ascii_letters + string.digits + "/?=&@%_.-~!$'()*+,;:")
    assert not urlsplit(path).fragment
    opening = [json.loads(frame) for frame in stream.opening(SYMBOLS[:count])]
    said = "\n".join([unquote(path), *words(opening)]).casefold()
    (times,) = {said.count(symbol.casefold()) for symbol in SYMBOLS[:count]}
    assert times > 0


def words(value):
    """Return every text in a JSON value."""
    if isinstance(value, str):
        return [value]
    items = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [word for item in items for word in words(item)]


@pytest.mark.parametrize(("venue", "channel"), STREAMS)
def test_a_venues_own_ping_is_sent_before_the_line_is_dead(venue, channel):
    beat = stream_of(venue, channel).beat
    if beat is not None:
        assert beat.frame
        assert beat.pong_within_s > 0
        assert beat.every_s > 0


def questions(venue):
    place, symbol = PLACES[venue], SYMBOLS[2]
    asked_once = [place.listing(symbol), place.day(symbol, DAY_US), place.clock()]
    for channel in place.channels.values():
        if isinstance(channel.past, ById):
            asked_once += [
                channel.past.page(symbol, 12345, place.page_limit),
                channel.past.first(symbol, AT_US),
            ]
        elif isinstance(channel.past, Newest):
            asked_once.append(channel.past.ask(symbol))
    for series in place.series.values():
        asked_once.append(series.ask(symbol, DAY_US, DAY_US + 86_400_000_000))
    if place.depth and place.depth.snapshot:
        asked_once.append(place.depth.snapshot(symbol))
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
    place = PLACES[venue]
    assert place.source == venue.partition(".")[0]
    assert place.key.isidentifier()
    assert place.title
    assert place.proof in {"id_exact", "overlap", "cadence", "none"}
    assert place.channels
    assert all(channel.name == name for name, channel in place.channels.items())
    assert 0 < place.server_ping_s < place.life_s
    assert min(place.page_limit, place.streams_per_connection, place.weight_per_minute) > 0
    assert place.rate_block_s >= 0


@pytest.mark.parametrize(("venue", "channel"), CHANNELS)
def test_trades_are_numbered_by_the_venue_or_carry_its_own_ids(venue, channel):
    """Where ids prove, they are the venue's numbers; elsewhere each trade has the venue's ref."""
    place = PLACES[venue]
    for row in stream_rows(venue, channel):
        received = place.channels[channel].decode([frame_of(row)], frozenset(row["symbols"]))
        for trades in received.trades.values():
            if place.is_numbered:
                assert trades.ref is None
            else:
                assert trades.ref is not None
                assert all(trades.ref.tolist())
    past = place.channels[channel].past
    if isinstance(past, ById):
        assert place.is_numbered
        assert past.reach_s is None or past.reach_s > 0


@pytest.mark.parametrize("venue", VENUE_NAMES)
def test_a_series_is_told_in_sane_numbers(venue):
    for kind, series in PLACES[venue].series.items():
        assert kind in {"funding", "open_interest"}
        assert series.span_us > 0
        assert series.reach_s is None or series.reach_s > 0


@pytest.mark.parametrize(("venue", "channel"), CHANNELS)
def test_files_of_finished_days_are_named_by_symbol_and_day(venue, channel):
    found = PLACES[venue].channels[channel]
    assert found.time_step_us >= 1
    if found.archive is None:
        return
    assert found.archive.published_s > 0
    told = [found.archive.path, found.archive.checksum]
    # Some venues publish no checksums.
    paths = [name(SYMBOLS[2], "2024-01-01") for name in told if name is not None]
    for path in paths:
        assert path.startswith("/")
        assert path.isascii()
        assert "2024-01-01" in path
        assert SYMBOLS[2] in unquote(path)
    assert len(set(paths)) == len(paths)


@pytest.mark.parametrize("venue", VENUE_NAMES)
def test_a_fallback_is_another_host_by_its_base_url(venue):
    for base, other in PLACES[venue].fallbacks.items():
        assert base != other
        for url in (base, other):
            parts = urlsplit(url)
            assert (parts.scheme, parts.path, parts.query) == ("https", "", "")
            assert parts.hostname


def test_every_file_of_a_venue_is_enrolled():
    folder = FRAMES.parent.parent / "marketdata" / "venues"
    modules = (import_module(f"marketdata.venues.{path.stem}") for path in folder.glob("*.py"))
    found = [value for module in modules for value in vars(module).values()]
    venues = [venue for venue in found if isinstance(venue, Venue)]
    enrolled = [*VENUES.values(), *VARIANTS.values()]
    assert all(any(venue is one for one in enrolled) for venue in venues)
    assert {venue.key for venue in venues} == {venue.key for venue in enrolled}
    assert all(venue.source == source for source, venue in VENUES.items())
