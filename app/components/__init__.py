"""Our own components: subclasses of gr.HTML, each in a folder with its HTML, JavaScript and CSS."""

from .answers_table import AnswersTable
from .candidate_stage import CandidateStage
from .choice_box import ChoiceBox
from .choice_list import Choice, ChoiceList
from .distances import Distances
from .four_ways import FourWays
from .measures_table import MeasuresTable
from .progress_line import ProgressLine
from .run_result import RunResult
from .share_link import ShareLink
from .text_rows import TextRows
from .token_picker import TokenPicker
from .token_strip import TokenStrip
from .waypoint_stage import WaypointStage

__all__ = [
    "AnswersTable",
    "CandidateStage",
    "Choice",
    "ChoiceBox",
    "ChoiceList",
    "Distances",
    "FourWays",
    "MeasuresTable",
    "ProgressLine",
    "RunResult",
    "ShareLink",
    "TextRows",
    "TokenPicker",
    "TokenStrip",
    "WaypointStage",
]
