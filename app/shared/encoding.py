"""Numbers and texts in the forms that the browser and spreadsheets read."""

from __future__ import annotations

import base64
import json
import re
from typing import Any

import numpy as np

INT16 = 32767
# spreadsheets look past what is blank before the sign of a formula, and read its full-width form like the sign itself
FORMULA = re.compile(r"[\s\0\ufeff]*[=+\-@\uff1d\uff0b\uff0d\uff20]|[\t\r\n]")


def packed_int16(points: np.ndarray, unit: float) -> str:
    """Numbers in whole units as int16, little-endian, base64; what is too large is cut."""
    whole = np.clip(np.round(points / unit), -INT16, INT16)
    return base64.b64encode(np.ascontiguousarray(whole, "<i2").tobytes()).decode()


def compact(data: Any) -> str:
    """JSON without spaces."""
    return json.dumps(data, ensure_ascii=False, separators=(",", ":"))


def safe_cell(text: str) -> str:
    """A text that no spreadsheet takes for a formula."""
    return "'" + text if FORMULA.match(text) else text
