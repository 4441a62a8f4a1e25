"""What a pull towards another text, a negative prompt and a direction do, and what fills holes: tables of docs/page.md.

    python -m benchmarks.steering [--data FOLDER] [--checkpoint FOLDER] [--only pulls | negatives | directions | holes]

FOLDER holds valid.jsonl, one story a line, which the model has not been trained on; holes need it. Fluency is the
perplexity per word under the autoregressive baseline, each text read from its start.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import random
import re
import time
from pathlib import Path

from coladlm import ColaDLM, Finished
from coladlm.baseline.baseline import BUNDLED, Baseline, perplexities
from coladlm.latent import Filled
from coladlm.recipe import Recipe
from coladlm.run import run

PROMPT = "Once upon a time, there was a little"
TOWARDS = (
    ("dog", "There was a dog. The dog was big."),
    ("bird", "There was a bird. The bird was blue."),
    ("boat", "There was a boat. The boat was red."),
    ("cake", "There was a cake. The cake was sweet."),
    ("sad", "She was very sad. The boy was sad."),
)
STRENGTHS = (-1.0, 0.0, 0.5, 1.0, 1.5, 2.0)
NEGATIVES = (  # prompt, a word that its answers often have, a negative prompt
    ("Once upon a time, there was a little girl named", "Lily", "There was a girl named Lily. Lily was happy."),
    ("One day, a boy went to the", "park", "They went to the park. They played in the park."),
    ("Tom and his mom went outside. They saw a", "big", "It was big. The big dog was very big."),
)
GUIDANCES = (1.5, 2.0, 3.0, 4.0)
ENDS = {  # of each shipped direction, words that say so
    "happy-sad": (
        "happy smile smiled smiles smiling glad laughed laugh laughing excited proud cheered hugged fun loved love joy "
        "thanked happily safe wonderful",
        "sad cry cried cries crying scared upset worried angry tears hurt afraid lonely frown frowned lost sadly mad "
        "hated fought terrible ashamed",
    ),
    "day-night": (
        "day sun sunny morning bright light breakfast warm",
        "night moon dark evening stars dinner bed sleep asleep cold",
    ),
    "he-she": ("he him his boy man dad himself", "she her girl woman herself hers"),
    "past-present": (
        "was were had went saw said did wanted ran looked felt",
        "is are has goes sees says does wants runs looks feels go see",
    ),
}
TURNS = (-2.0, -1.0, 0.0, 1.0, 2.0)
NAMES = ("Tom", "Lily", "Ben", "Mia", "Sam", "Sara", "Tim", "Anna")
BEGINNINGS = (
    "{} went to the park with mom.",
    "One day, {} found a small box.",
    "{} and a friend were at home.",
    "Once upon a time, {} had a dog.",
)
TURNED_TOKENS = 64
TEXTS, TOKENS = 32, 40
SENTENCES, CANDIDATES = 100, 8
SENTENCE = re.compile(r"[A-Z][a-z' ,]{20,80}[.!?]")


def answers(model: ColaDLM, recipe: Recipe) -> list[str]:
    return next(event for event in run(model, recipe) if isinstance(event, Finished)).texts


def pulls(model: ColaDLM, baseline: Baseline) -> None:
    """For each text and strength: the share of answers that have its word, and their perplexity."""
    settings = dataclasses.replace(model.defaults, max_new_tokens=TOKENS, whole_sentences=False)
    print("| pulled by | " + " | ".join(f"{s:g}" for s in STRENGTHS) + " |")
    print("| --- |" + " --- |" * len(STRENGTHS))
    for word, text in TOWARDS:
        cells = []
        for strength in STRENGTHS:
            recipe = Recipe("generate", (PROMPT,), settings, TEXTS, {"towards": text, "pull": strength})
            cells.append(share_and_fluency(model, baseline, recipe, word))
        print(f"| {word} | " + " | ".join(cells) + " |", flush=True)


def share_and_fluency(model: ColaDLM, baseline: Baseline, recipe: Recipe, word: str) -> str:
    """The share of a recipe's answers that have a word, and their perplexity."""
    found = answers(model, recipe)
    share = sum(bool(re.search(rf"\b{word}", answer)) for answer in found) / len(found)
    fluency = perplexities(baseline.log_likelihood([recipe.texts[0] + answer for answer in found]))["per_word"]
    return f"{100 * share:.0f} %, {fluency:.0f}"


def negatives(model: ColaDLM, baseline: Baseline) -> None:
    """The same for a negative prompt, without and with it, at several guidances."""
    print("| prompt, word | negative prompt | " + " | ".join(f"guidance {g:g}" for g in GUIDANCES) + " |")
    print("| --- | --- |" + " --- |" * len(GUIDANCES))
    for prompt, word, text in NEGATIVES:
        for options in ({}, {"negative": text}):
            cells = []
            for guidance in GUIDANCES:
                changes = {"max_new_tokens": TOKENS, "whole_sentences": False, "guidance": guidance}
                settings = dataclasses.replace(model.defaults, **changes)
                recipe = Recipe("generate", (prompt,), settings, TEXTS, options)
                cells.append(share_and_fluency(model, baseline, recipe, word))
            print(f"| {prompt}, {word} | {options.get('negative', '')} | " + " | ".join(cells) + " |", flush=True)


def turned(model: ColaDLM, baseline: Baseline) -> None:
    """For each shipped direction and strength: the words of either end in all answers, and the answers' perplexity."""
    prompts = tuple(beginning.format(name) for beginning in BEGINNINGS for name in NAMES)
    settings = dataclasses.replace(model.defaults, max_new_tokens=TURNED_TOKENS, whole_sentences=False)
    print("| direction | " + " | ".join(f"{strength:g}" for strength in TURNS) + " |")
    print("| --- |" + " --- |" * len(TURNS))
    for name, ends in ENDS.items():
        cells = []
        for strength in TURNS:
            recipe = Recipe("generate", prompts, settings, 1, {"direction": name, "direction_strength": strength})
            found = answers(model, recipe)
            words = [word for answer in found for word in re.findall(r"[a-z']+", answer.lower())]
            first, second = (sum(word in end.split() for word in words) for end in ends)
            texts = [prompt + answer for prompt, answer in zip(prompts, found, strict=True)]
            fluency = perplexities(baseline.log_likelihood(texts))["per_word"]
            cells.append(f"{first} : {second}, {fluency:.0f}")
        print(f"| {name} | " + " | ".join(cells) + " |", flush=True)


def holes(model: ColaDLM, data: Path) -> None:
    """How often the word that stood in a hole is the first candidate, or any, and how long it takes."""
    stories = [json.loads(line)["text"] for line in (data / "valid.jsonl").read_text(encoding="utf-8").splitlines()]
    draw = random.Random(0)
    sentences = [found.group() for story in stories if (found := SENTENCE.search(story))][:SENTENCES]
    first = any_ = chance = 0.0
    begun = time.perf_counter()
    for sentence in sentences:
        words = sentence.split(" ")
        place = draw.randrange(1, len(words) - 1)
        text = " ".join([*words[:place], "___", *words[place + 1 :]])
        recipe = Recipe("fill", (text,), model.defaults, CANDIDATES)
        events = list(run(model, recipe))
        filled = next(event for event in events if isinstance(event, Filled))
        lead = text.split("___")[0].removesuffix(" ")
        drawn = [lead + answer for answer in events[-1].texts]
        first += filled.candidates[0].text == sentence
        any_ += sentence in drawn
        chance += drawn.count(sentence) / len(drawn)
    n = len(sentences)
    seconds = (time.perf_counter() - begun) / n
    shares = [f"{100 * count / n:.0f} %" for count in (first, any_, chance)]
    print(f"{n} sentences, a word left out of each, {CANDIDATES} candidates: it is the first one in {shares[0]},")
    print(f"one of them in {shares[1]}; one drawn at random has it in {shares[2]}. {seconds:.2f} s each.")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--checkpoint")
    parser.add_argument("--only", choices=("pulls", "negatives", "directions", "holes"))
    args = parser.parse_args()
    model = ColaDLM.from_pretrained(args.checkpoint)
    if args.only in (None, "pulls"):
        pulls(model, Baseline.from_pretrained(BUNDLED))
    if args.only in (None, "negatives"):
        negatives(model, Baseline.from_pretrained(BUNDLED))
    if args.only in (None, "directions"):
        turned(model, Baseline.from_pretrained(BUNDLED))
    if args.only in (None, "holes") and args.data is not None:
        holes(model, args.data)


if __name__ == "__main__":
    main()
