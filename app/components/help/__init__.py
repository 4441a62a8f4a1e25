"""Help: the keyboard's shortcuts and a glossary in a dialog, and the shortcuts themselves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..own_html import OwnHTML

SHORTCUTS = (
    ("?", "this list"),
    ("1 to 7", "open a tab"),
    ("r", "run"),
    ("Shift + Enter", "run, while you write a prompt"),
    ("Ctrl + Enter", "run, wherever you are"),
    ("s", "stop"),
    ("/", "go to the text to write in"),
    ("h", "history"),
    ("← →, Enter", "in a finished text: from word to word, look into one"),
    ("Ctrl + Z", "back to the text before the word that you put there"),
    ("Esc", "close what has opened; stop, from the prompt or from Run"),
)
GLOSSARY = (
    ("Token", "A word or a part of one; the smallest thing that the model reads and writes."),
    (
        "Latent",
        "A short list of numbers that stands for a token (or a few). The model thinks in latents, not in words.",
    ),
    ("Text VAE", "The two networks that turn tokens into latents (encoder) and latents into tokens (decoder)."),
    (
        "Posterior",
        "What the encoder says of a token: not one latent but a small cloud of them, with a middle and a width.",
    ),
    ("DiT", "The network that knows which way latents flow: at every step it tells each one where to go."),
    ("Block", "A few latents that are written together. A text is written block after block."),
    ("Noise", "Where a block starts: random numbers, 100 %. At 0 % it has become latents of words."),
    ("Step", "One move of a block along the flow, from more noise to less."),
    ("Clean estimate", "Where a block would land if it went straight on: what you see as blurred, pale words."),
    (
        "Confidence",
        "How probable the decoder finds the word that it reads. The underline of a word on its way is as long as it is "
        "sure; colours show it too, where they are asked for.",
    ),
    (
        "Margin",
        "How far the likeliest word is ahead of the second, in nats. A small margin: it could have been another.",
    ),
    ("Settled", "A word has settled when it does not change any more in the steps that follow."),
    (
        "Misfit",
        "How badly a text fits where it stands: less is likelier. It ranks edits and fillings, by how unlikely the "
        "model finds them, and waypoints, by the error of the flow's velocity.",
    ),
    ("Guidance", "Pulls a block towards what stands before it, by comparing the flow with and without that context."),
    (
        "Stagger",
        "How far each word of a block follows the one before it: 0, all go from noise to word together; 1, one after "
        "another, each when its neighbour stands.",
    ),
    (
        "Stochasticity",
        "The share of the noise that is replaced at each step; it lets words that do not fit change again.",
    ),
    ("Temperature", "How much chance there is in the choice of the word for a latent; 0 is none."),
    ("Perplexity", "How surprised another model is by a text. Low is fluent, or merely repetitive."),
    ("Distinct 2-grams", "The share of word pairs that are different from each other: how varied a text is."),
    ("Seed", "The number that all chance comes from. The same recipe with the same seed gives the same text."),
    ("Recipe", "Texts, settings and seed together: all that is needed to repeat a run. A link holds one, a file too."),
)


class Help(OwnHTML):
    """A button, the dialog it opens, and the keys. tabs: the labels of the tabs in their order."""

    FILE = "help"

    def __init__(self, tabs: Sequence[str], **kwargs: Any) -> None:
        words = {"shortcuts": [list(pair) for pair in SHORTCUTS], "glossary": [list(pair) for pair in GLOSSARY]}
        super().__init__(None, tabs=list(tabs), **words, **kwargs)

    def example_payload(self) -> Any:
        return None

    example_value = example_payload
