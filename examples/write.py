"""Writes a text and shows how each block crystallises: the decoding of the clean estimate at every step.

python -m examples.write
python -m examples.write "The cat sat" path/to/checkpoint
"""

import dataclasses
import sys

from coladlm import BlockDone, ColaDLM, Finished, Step


def main(prompt: str = "Once upon a time", checkpoint: str | None = None) -> None:
    model = ColaDLM.from_pretrained(checkpoint)
    settings = dataclasses.replace(model.defaults, max_new_tokens=24, seed=1)
    for event in model.sample([prompt], settings):
        match event:
            case Step():
                words = model.read(event.preview()[0].argmax(-1).tolist())  # logits (tokens of a block, vocabulary)
                print(f"block {event.block}, noise {event.t.max() / 10:5.1f} %: {words!r}")
            case BlockDone():
                print(f"{prompt}{event.texts[0]}\n")
            case Finished():
                print(f"ended by {event.reasons[0]} after {len(event.token_ids[0])} tokens")


if __name__ == "__main__":
    main(*sys.argv[1:])
