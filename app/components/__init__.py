"""Our own components: subclasses of gr.HTML, each with its HTML, JavaScript and CSS in files of its name beside it."""

from .progress_line import ProgressLine
from .share_link import ShareLink
from .token_strip import TokenStrip

__all__ = ["ProgressLine", "ShareLink", "TokenStrip"]
