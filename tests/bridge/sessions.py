"""Recorded sessions made up for tests, in the venues' words, by a book that is kept apart."""

import gzip
import json
import random

NS = 1_704_067_200_000_000_000
MS = 1_704_067_200_000


def text(value):
    return f"{value:.10f}".rstrip("0").rstrip(".")


def frame(**fields):
    return json.dumps(fields, separators=(",", ":")).encode()


def bybit_book(kind, update, cts, bids, asks, symbol="BTCUSDT"):
    """Return a frame of the book; quantities are numbers."""
    rows = [[[text(price), text(qty)] for price, qty in side] for side in (bids, asks)]
    data = {"s": symbol, "b": rows[0], "a": rows[1], "u": update, "seq": update * 7}
    return frame(topic=f"orderbook.200.{symbol}", type=kind, ts=cts + 3, data=data, cts=cts)


def bybit_trade(number, ms, price, qty, side, symbol="BTCUSDT"):
    row = {"T": ms, "s": symbol, "S": side, "v": text(qty), "p": text(price), "L": "PlusTick"}
    row |= {"i": f"00000000-0000-0000-0000-{number:012d}", "BT": False, "RPI": False, "seq": number}
    return frame(topic=f"publicTrade.{symbol}", type="snapshot", ts=ms + 3, data=[row])


def capture(path, lines):
    """Write (local ns, frame) lines as a recorder does."""
    path.write_bytes(gzip.compress(b"".join(b"%019d %s\n" % line for line in lines)))
    return path


class _Market:
    """A book that wanders; it knows what the venue would have to tell of each step."""

    def __init__(self, seed):
        self.chance = random.Random(seed)
        self.middle = 430_000
        self.sides = {-1: {}, 1: {}}

    def step(self, *, is_whole):
        """Move on; return bids and asks to tell: all of them, or those that changed."""
        self.middle += self.chance.choice((-2, -1, 0, 1, 2))
        return [self._told(sign, is_whole=is_whole) for sign in (-1, 1)]

    def _told(self, sign, *, is_whole):
        old = self.sides[sign]
        # Levels of the book before are not told again one by one: they are gone.
        kept = {} if is_whole else old
        new = {tick: qty for tick, qty in kept.items() if (tick - self.middle) * sign > 0}
        for _ in range(40 if is_whole else 3):
            new[self.middle + sign * self.chance.randint(1, 60)] = self.chance.randint(0, 5) / 8
        self.sides[sign] = {tick: qty for tick, qty in new.items() if qty}
        ticks = sorted(new) if is_whole else sorted(old.keys() | new.keys())
        return [
            (tick / 10, new.get(tick, 0))
            for tick in ticks
            if (new[tick] if is_whole else old.get(tick, 0) != new.get(tick, 0))
        ]


def bybit_session(folder, seed, steps=3000):
    """Record a market whose book comes whole now and then, among its trades."""
    market = _Market(seed)
    chance, lines = market.chance, []
    for step in range(steps):
        ms, is_whole = MS + step * 20, step % 1000 == 0
        # Frames take 1 to 4 ms, and trades longer, so that now and then one overtakes another.
        receipt = ms * 1_000_000 + chance.randrange(1_000_000, 4_000_000)
        kind = "snapshot" if is_whole else "delta"
        lines.append((receipt, bybit_book(kind, 101 + step, ms, *market.step(is_whole=is_whole))))
        if chance.random() < 0.4:
            price = (market.middle + chance.choice((-1, 1))) / 10
            side = chance.choice(("Buy", "Sell"))
            trade = bybit_trade(step, ms - chance.randint(0, 5), price, 0.25, side)
            lines.append((receipt + chance.randrange(30_000_000), trade))
    lines.append((lines[-1][0] + 1, b'{"success":true,"ret_msg":"pong","op":"ping"}'))
    return capture(folder / "btcusdt_all_20240101.gz", sorted(lines))
