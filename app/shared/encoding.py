"""Numbers and texts in the forms that the browser and spreadsheets read."""

from __future__ import annotations

import base64
import json
from typing import Any

import numpy as np

INT16 = 32767


def packed_int16(points: np.ndarray, unit: float) -> str:
    """Numbers in whole units as int16, little-endian, base64; what is too large is cut."""
    whole = np.clip(np.round(points / unit), -INT16, INT16)
    return base64.b64encode(np.ascontiguousarray(whole, "<i2").tobytes()).decode()


def compact(data: Any) -> str:
    """JSON without spaces."""
    return json.dumps(data, ensure_ascii=False, separators=(",", ":"))


def safe_cell(text: str) -> str:
    """A text that no spreadsheet takes for a formula."""
    return "'" + text if text[:1] in ("=", "+", "-", "@", "\t", "\r") else text
