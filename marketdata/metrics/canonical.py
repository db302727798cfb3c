"""The canonical form of a scope's state, so that "the same" can be checked by a hash."""

from __future__ import annotations

import hashlib
import json
from decimal import Decimal

import numpy as np

from marketdata.core.trades import Ints


def state_hash(
    header: dict[str, int | str], columns: dict[str, tuple[Ints, Decimal | None]]
) -> str:
    """Hash named integer columns and a header.

    Parameters
    ----------
    header : dict
        Names and plain values, hashed as JSON with sorted keys.
    columns : dict of (values, unit)
        Whole numbers and what one of them is worth (None: a plain count). Values are brought to
        the coarsest power-of-ten unit first (1 where all are zero), so that a finer grid gives
        the same hash.

    Returns
    -------
    str
        SHA-256 in hexadecimal.
    """
    digest = hashlib.sha256(json.dumps(header, sort_keys=True).encode())
    for name in sorted(columns):
        values, unit = columns[name]
        if unit is not None:
            values, unit = _coarsest(values, unit)
        digest.update(f"|{name}|{unit}|{len(values)}|".encode())
        digest.update(np.ascontiguousarray(values, dtype="<i8").tobytes())
    return digest.hexdigest()


def _coarsest(values: Ints, unit: Decimal) -> tuple[Ints, Decimal]:
    if not values.any():
        return values, Decimal(1)
    _, digits, exponent = unit.normalize().as_tuple()
    values = values * int("".join(map(str, digits)))
    power = int(exponent)
    while not (values % 10).any():
        values = values // 10
        power += 1
    return values, Decimal(1).scaleb(power)
