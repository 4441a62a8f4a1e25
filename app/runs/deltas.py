"""What has changed between two values of plain data, so that a stream need not send a whole value again.

A patch is a dictionary of one of these forms; `mergePatch` in run_state.js applies them:

    {"$set": value}              the new value
    {"$append": text}            a string that grew at its end
    {"$items": {index: patch}}   a list of dictionaries: the items that changed, and those that came at its end
    {key: patch, ...}            a dictionary: the keys that changed
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

SAME: dict[str, Any] = {}
"""The patch between equal values."""


def patch(old: Any, new: Any) -> dict[str, Any]:
    """The patch that makes `new` of `old`: plain data without cycles. `SAME` if they are equal."""
    if old is new or (type(old) is type(new) and old == new):
        return SAME
    if isinstance(old, str) and isinstance(new, str) and old and new.startswith(old):
        return {"$append": new[len(old) :]}
    if isinstance(old, Mapping) and isinstance(new, Mapping) and _patchable(old, new):
        return parts_patch(old, new)
    if _are_items(old) and _are_items(new) and len(old) <= len(new):
        items = {str(i): patch(old[i], new[i]) for i in range(len(old)) if old[i] != new[i]}
        return {"$items": items | {str(i): {"$set": new[i]} for i in range(len(old), len(new))}}
    return {"$set": new}


def parts_patch(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """Patches of the keys whose values changed or are new: of a frame, its parts by name."""
    changed = {name: patch(old[name], value) if name in old else {"$set": value} for name, value in new.items()}
    return {name: change for name, change in changed.items() if change}


def _patchable(old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    """No key has gone, and none looks like the name of an operation."""
    return all(key in new for key in old) and not any(str(key).startswith("$") for key in new)


def _are_items(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str) and bool(value) and isinstance(value[0], Mapping)
