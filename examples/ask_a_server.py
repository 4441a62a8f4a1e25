"""Asks a running server (`python app.py`) through OpenAI's API: one text as it is written, then a recipe again.

python -m examples.ask_a_server
python -m examples.ask_a_server http://127.0.0.1:7860 "The cat sat"
"""

import json
import sys

import httpx


def main(address: str = "http://127.0.0.1:7860", prompt: str = "Once upon a time") -> None:
    ask = {"prompt": prompt, "max_tokens": 24, "seed": 1}
    print(prompt, end="")
    with httpx.stream("POST", f"{address}/v1/completions", json={**ask, "stream": True}, timeout=300) as answer:
        for line in answer.iter_lines():  # server-sent events: a line "data: {...}" for each piece
            if line.startswith("data: {"):
                print(json.loads(line.removeprefix("data: "))["choices"][0]["text"], end="", flush=True)
    whole = httpx.post(f"{address}/v1/completions", json=ask, timeout=300).json()
    print(f"\n{whole['usage']['completion_tokens']} tokens; the recipe that repeats it:\n{json.dumps(whole['recipe'])}")


if __name__ == "__main__":
    main(*sys.argv[1:])
