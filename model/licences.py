"""What a licence of weights asks of weights that are made from them, as far as its usual names tell."""

import re
from collections.abc import Iterable
from typing import Literal

Condition = Literal["non-commercial", "share-alike"]

_NAMES: dict[Condition, re.Pattern[str]] = {
    "non-commercial": re.compile(r"\bNC\b|non-?\s?commercial|research[- ]only", re.IGNORECASE),
    "share-alike": re.compile(r"\bSA\b|share-?\s?alike|\bA?L?GPL\b|GPL-\d", re.IGNORECASE),
}


def conditions(licence: str) -> frozenset[Condition]:
    """Return what a licence asks for; nothing where it is not stated, or its name tells nothing."""
    return frozenset(condition for condition, name in _NAMES.items() if name.search(licence))


def strictest(licences: Iterable[str]) -> str:
    """Return the licence that asks for most; the first of several alike, and "" where none is stated."""
    stated = [licence for licence in licences if licence]
    return max(stated, key=lambda licence: len(conditions(licence)), default="")


def looser(licence: str, parent: str) -> frozenset[Condition]:
    """Return the conditions of a parent's licence that a licence leaves out."""
    return conditions(parent) - conditions(licence)
