"""Errors that are the user's to mend."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """Bad input: the message says which file or key, what was found, what was expected, what to do."""


class Diverged(UserError):
    """Training left the finite numbers: the settings do not suit one another."""


SHOWN = 20
"""Allowed values that a message names; of more it names the nearest few."""


def did_you_mean(found: str, allowed: Iterable[str]) -> str:
    """A sentence that names the allowed values and the one nearest to `found`."""
    allowed = sorted(allowed)
    nearest = difflib.get_close_matches(found, allowed, n=1, cutoff=0.5)
    hint = f" Did you mean {nearest[0]!r}?" if nearest else ""
    if len(allowed) > SHOWN:
        near = difflib.get_close_matches(found, allowed, n=SHOWN // 3, cutoff=0)
        return f"allowed: {', '.join(near)} and {len(allowed) - len(near)} more.{hint}"
    return f"allowed: {', '.join(allowed) or '(none)'}.{hint}"
