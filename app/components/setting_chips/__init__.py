"""SettingChips: settings as a row of words with their values, each of which opens its control where it stands."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..own_html import OwnHTML


class SettingChips(OwnHTML):
    """Buttons over the list of settings (`.setting-list`) of the workbench. Its value is those of the controls, in
    order.

    A button shows the one control of class `set-NAME`; the last one shows all. A rare one is there only where it has a
    value, of which it shows the end.
    """

    FILE = "setting_chips"

    def __init__(
        self, chips: Sequence[tuple[str, str, str]], value: Sequence[Any], rare: Sequence[str] = (), **kwargs: Any
    ) -> None:  # fmt: skip
        """chips: (name, words before the value, words after it). rare: names of those that are rare."""
        super().__init__(list(value), chips=[list(chip) for chip in chips], rare=list(rare), **kwargs)

    def example_payload(self) -> Any:
        return []

    example_value = example_payload
