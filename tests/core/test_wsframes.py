"""Frames built by an independent encoder and cut anywhere must come out as they went in."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from websocket import ABNF

from marketdata.core.errors import ConnectionLostError
from marketdata.core.wsframes import (
    CLOSE,
    LARGEST_MESSAGE,
    PING,
    PONG,
    TEXT,
    FrameReader,
    MessageTooLargeError,
    ProtocolError,
    client_frame,
    close_payload,
    close_words,
)

# Lengths on both sides of every change of the header's form, as well as ordinary ones.
PAYLOADS = st.one_of(
    st.binary(max_size=200),
    st.sampled_from([125, 126, 127, 65_535, 65_536]).map(
        lambda size: bytes(i % 251 for i in range(size))
    ),
)
SMALL = st.binary(max_size=125)


def server_frame(opcode, payload, fin=1):
    """Encode as a server does, by websocket-client's own encoder."""
    frame = ABNF(fin, 0, 0, 0, opcode, 0, payload)
    return frame.format()


@st.composite
def conversations(draw):
    """Return (bytes on the wire, messages, controls): whole and fragmented, controls anywhere."""
    wire, messages, controls = [], [], []

    def control():
        opcode = draw(st.sampled_from([PING, PONG]))
        payload = draw(SMALL)
        wire.append(server_frame(opcode, payload))
        controls.append((opcode, payload))

    for _ in range(draw(st.integers(0, 5))):
        pieces = draw(st.lists(PAYLOADS, min_size=1, max_size=3))
        kind = draw(st.sampled_from([ABNF.OPCODE_TEXT, ABNF.OPCODE_BINARY]))
        for number, piece in enumerate(pieces):
            if draw(st.booleans()):
                control()
            is_last = number == len(pieces) - 1
            opcode = kind if number == 0 else ABNF.OPCODE_CONT
            wire.append(server_frame(opcode, piece, int(is_last)))
        messages.append(b"".join(pieces))
    return b"".join(wire), messages, controls


def feed_all(reader, parts, messages):
    """Add to `messages` what the parts give, up to the error."""
    for part in parts:
        messages += reader.feed(part)[0]


def fed(reader, parts):
    """Return all messages and controls that the parts come to."""
    messages, controls = [], []
    for part in parts:
        whole, control = reader.feed(part)
        messages += whole
        controls += control
    return messages, controls


@given(conversations(), st.data())
@settings(max_examples=150, deadline=None)
def test_any_cut_gives_the_same_messages(conversation, data):
    wire, messages, controls = conversation
    cuts = sorted(data.draw(st.lists(st.integers(0, len(wire)), max_size=12)))
    parts = [wire[start:stop] for start, stop in zip([0, *cuts], [*cuts, len(wire)], strict=True)]
    assert fed(FrameReader(), parts) == (messages, controls)


@given(conversations())
@settings(max_examples=25, deadline=None)
def test_byte_by_byte_gives_the_same_messages(conversation):
    wire, messages, controls = conversation
    wire = wire[:1500]
    whole = fed(FrameReader(), [wire])
    assert fed(FrameReader(), [bytes((byte,)) for byte in wire]) == whole
    assert whole[0] == messages[: len(whole[0])]
    assert whole[1] == controls[: len(whole[1])]


def test_a_known_frame_is_read_and_written():
    # RFC 6455 section 5.7: "Hello" unmasked from a server, masked from a client, and in two parts.
    assert FrameReader().feed(bytes.fromhex("810548656c6c6f")) == ([b"Hello"], [])
    assert client_frame(TEXT, b"Hello", bytes.fromhex("37fa213d")) == bytes.fromhex(
        "818537fa213d7f9f4d5158"
    )
    assert FrameReader().feed(bytes.fromhex("010348656c80026c6f")) == ([b"Hello"], [])
    assert FrameReader().feed(bytes.fromhex("890548656c6c6f")) == ([], [(PING, b"Hello")])


@given(PAYLOADS, st.binary(min_size=4, max_size=4))
@settings(max_examples=50, deadline=None)
def test_client_frames_equal_those_of_websocket_client(payload, mask):
    frame = ABNF(1, 0, 0, 0, ABNF.OPCODE_BINARY, 1, payload)
    frame.get_mask_key = lambda size: mask
    assert client_frame(ABNF.OPCODE_BINARY, payload, mask) == frame.format()


HELLO = server_frame(TEXT, b"hello")
BREACHES = {
    "reserved bit": (bytes((0xC1, 1)), "reserved bits"),
    "opcode 3": (bytes((0x83, 1)), "known opcode"),
    "opcode 11": (bytes((0x8B, 0)), "known opcode"),
    "masked": (bytes((0x81, 0x81)), "unmasked"),
    "masked, long": (bytes((0x81, 0xFE)), "unmasked"),
    "fragmented ping": (bytes((0x09, 0)), "one piece"),
    "long ping": (bytes((0x89, 126, 0, 126)), "125 bytes"),
    "continuation of nothing": (bytes((0x80, 0)), "in order"),
    "text inside a message": (bytes((0x01, 0, 0x81, 1, 65)), "in order"),
}


@pytest.mark.parametrize(("breach", "words"), BREACHES.values(), ids=BREACHES)
@pytest.mark.parametrize("step", [1, 2, 1000])
def test_a_breach_is_raised_after_what_came_before_it(breach, words, step):
    reader = FrameReader()
    wire = HELLO + breach + HELLO
    messages = []
    parts = [wire[at : at + step] for at in range(0, len(wire), step)]
    with pytest.raises(ProtocolError, match=words) as raised:
        feed_all(reader, [*parts, b""], messages)
    assert messages == [b"hello"]
    assert reader.error is raised.value
    assert raised.value.code == 1002
    assert isinstance(raised.value, ConnectionLostError)
    with pytest.raises(ProtocolError):
        reader.feed(HELLO)


def test_a_message_beyond_the_cap_is_refused_by_its_header():
    header = bytes((0x81, 127)) + (LARGEST_MESSAGE + 1).to_bytes(8, "big")
    reader = FrameReader()
    assert reader.feed(header[:9]) == ([], [])
    with pytest.raises(MessageTooLargeError, match="at most 1048576 bytes expected, seen 1048577"):
        reader.feed(header[9:])
    assert reader.error.code == 1009


@pytest.mark.parametrize("size", [10, 11, 126, 65_536, 2**63])
def test_the_cap_holds_for_every_form_of_length(size):
    form = (
        bytes((size,))
        if size < 126
        else bytes((126,)) + size.to_bytes(2, "big")
        if size < 65_536
        else bytes((127,)) + size.to_bytes(8, "big")
    )
    reader = FrameReader(10)
    wire = b"\x81" + form + b"x" * min(size, 200)
    if size > 10:
        with pytest.raises(MessageTooLargeError):
            reader.feed(wire)
    else:
        assert reader.feed(wire) == ([b"x" * 10], [])


def test_the_cap_counts_all_fragments_together():
    reader = FrameReader(10)
    assert reader.feed(server_frame(TEXT, b"12345678", 0)) == ([], [])
    assert reader.feed(server_frame(PING, b"a ping does not count")) == (
        [],
        [(PING, b"a ping does not count")],
    )
    with pytest.raises(MessageTooLargeError, match="seen 11"):
        reader.feed(server_frame(ABNF.OPCODE_CONT, b"123", 0)[:2])


def test_the_largest_message_passes_in_small_pieces():
    payload = bytes(range(256)) * 4096
    wire = server_frame(TEXT, payload) + HELLO
    parts = [wire[at : at + 1400] for at in range(0, len(wire), 1400)]
    assert fed(FrameReader(), parts) == ([payload, b"hello"], [])


def test_nothing_counts_after_a_close_frame():
    goodbye = close_payload(1001, "maintenance")
    reader = FrameReader()
    wire = HELLO + server_frame(CLOSE, goodbye) + HELLO
    assert reader.feed(wire) == ([b"hello"], [(CLOSE, goodbye)])
    assert reader.feed(HELLO) == ([], [])
    assert reader.error is None


@pytest.mark.parametrize(
    ("payload", "words"),
    [
        (b"", "1005 no code given"),
        (b"\x03", "1005 no code given"),
        (b"\x03\xe9", "1001 the server goes away"),
        (b"\x03\xf0too fast", "1008 a rule of the server was broken: too fast"),
        (b"\x0f\xa0own code", "4000: own code"),
        (b"\x03\xe8\xff", "1000 normal end: \ufffd"),
    ],
)
def test_close_frames_are_told_in_words(payload, words):
    assert close_words(payload) == words


def test_a_long_reason_is_cut_between_characters():
    payload = close_payload(1000, "é" * 100)
    assert len(payload) <= 125
    assert payload[2:].decode() == "é" * 61
