"""Which faults befall which venue, one after another, and when each is over."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from tests.daemon.process import until
from tests.venues.drill import PAGE, RATE, Place, settle, settle_book

# So old a connection must be that its end is not taken for the failure of an attempt.
RIPE_S = 5.3


@dataclass(frozen=True)
class Step:
    """One fault, for so long, and what makes it felt.

    Parameters
    ----------
    faults : mapping
        As `Faults.update` takes them.
    seconds : float
        How long they hold; counted ones longer, until they have befallen somebody.
    then : mapping
        Faults set a moment later: the end of a connection for what only the next one feels.
    is_felt : bool
        It must have been used up, as the simulator counts.
    """

    faults: Mapping[str, float]
    seconds: float = 0.2
    then: Mapping[str, float] = field(default_factory=dict)
    is_felt: bool = True

    @property
    def name(self) -> str:
        return ",".join(f"{name}={value:g}" for name, value in self.faults.items())


CUT = {"rst": 1}
MIXED = (
    Step({"duplicate": 0.3, "reorder": 0.3, "garbage": 0.3}, 3),
    Step({"slow": 0.3}, 1.5, is_felt=False),
)
LINES = (
    Step({"rst": 1}),
    Step({"close": 1}),
    Step({"half_frame": 1}),
    Step({"stall": 5}, 5, is_felt=False),
    Step({"outage": 1.5}, 1.6, is_felt=False),
    Step({"server_shutdown": 1, "server_shutdown_lead": 0.5}),
    Step({"disconnect_every": 2}, 3.5),
)
# One after the other befalls whoever asks, and is answered by asking again.
REFUSALS = ({"429": 1, "500": 1, "502": 1, "503": 1}, {"truncate": 1, "reset": 1})
# On a venue without ids of its own nothing brings these back.
LEFT_OUT = (Step({"drop": 0.3, "skip": 25}, 2),)
AWAY = Step({"outage": 14}, 14.1, is_felt=False)


def hidden(count: int) -> Step:
    """Return a cut that hides trades from the next connection."""
    return Step({"skip_while_down": count}, 1.5, CUT)


def refused(*more: Mapping[str, int], felt_by: Mapping[str, float]) -> tuple[Step, ...]:
    """Return a step for each kind of trouble that REST makes, with what makes somebody ask."""
    return tuple(
        Step({**{f"http_{name}": times for name, times in kinds.items()}, **PAUSE}, then=felt_by)
        for kinds in (*REFUSALS, *more)
    )


PAUSE = {"retry_after": 0.5}
BINANCE = (
    Step({"depth_gap": 1}),
    Step({"stale_snapshot": 1}, then={"depth_gap": 1}),
    *MIXED,
    *refused({"418": 1, "drip": 1}, felt_by={"skip": 5}),
    *LINES,
    hidden(60),
)
# What can be proven, or is brought by asking.
STEPS: Mapping[str, tuple[Step, ...]] = {
    "binance_ws": (*BINANCE, *LEFT_OUT, AWAY),
    "binance_futures": (
        Step({"st_mixed": 5}),
        Step({"liquidation": 1}),
        *BINANCE,
        *LEFT_OUT,
        AWAY,
    ),
    "bybit": (
        Step({"depth_gap": 1}),
        Step({"book_again": 1, "delete_absent": 1, "liquidation": 1}),
        Step({"book_restart": 1}),
        *MIXED,
        *refused({"10006": 1, "drip": 1}, felt_by={}),
        Step({"odd_pong": 1}),
        *LINES,
        hidden(60),
        Step({"deaf": 2, "refuse": 2}, then=CUT),
    ),
    "deriv": (
        Step({"duplicate": 0.5, "garbage": 0.5}, 3),
        Step({"slow": 0.3}, 1.5, is_felt=False),
        *LINES,
        hidden(3),
        Step({"deaf": 1, "refuse": 1, "wrong_response": 1, "deriv_bare_error": 1}, then=CUT),
        Step({"market_closed": 5}, 5, is_felt=False),
        AWAY,
        Step({"drop": 0.5}, 4),
        Step({"skip": 3}),
    ),
}
# What is lost for good, and stated; at last more than the venue's page of newest trades holds.
UNPROVEN: Mapping[str, tuple[Step, ...]] = {"bybit": LEFT_OUT}
BEYOND_S = 1.2 * PAGE / RATE
BEYOND_A_PAGE = Step({"outage": BEYOND_S}, BEYOND_S + 0.1, is_felt=False)


def befall(place: Place, step: Step) -> None:
    """Let a fault befall a venue, and wait until all is well again."""
    faults, before = place.venue.faults, dict(place.venue.faults.done)
    place.notes.append(step.name)
    if {*CUTS} & {*step.faults, *step.then}:
        ripen(place)
    faults.update(step.faults)
    time.sleep(step.seconds)
    faults.update(step.then)

    def is_felt() -> bool:
        counted = {*step.faults} - {*PAUSE, "server_shutdown_lead"}
        return all(faults.done[name] > before.get(name, 0) for name in counted)

    if step.is_felt:
        until(is_felt, f"{place.source}: {step.name} felt")
    faults.clear()
    settle(place)
    if BOOKS & {*step.faults}:
        settle_book(place)


BOOKS = {"depth_gap", "stale_snapshot", "book_again", "book_restart", "delete_absent"}
# What ends connections; their ages are waited for before.
CUTS = ("rst", "close", "half_frame", "stall", "outage", "server_shutdown", "disconnect_every")


def ripen(place: Place) -> None:
    """Wait until every connection of a venue has lasted for some seconds."""
    until(lambda: all(age_s(line) > RIPE_S for line in place.lines()), f"{place.source} ripe")


def age_s(line: Mapping[str, Any]) -> float:
    """Return for how long a line has been connected, and live, seconds."""
    if line["state"] != "live":
        return 0.0
    began = datetime.fromisoformat(line["connected_at"].replace("Z", "+00:00"))
    return time.time() - began.timestamp()
