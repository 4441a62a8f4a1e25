"""The command line: what a newcomer types works, pipes get text or JSON, and mistakes get one line."""

import contextlib
import dataclasses
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from coladlm.cli import COMMANDS, STOPPED, main, terminal_progress
from coladlm.cli.terminal_progress import TerminalProgress
from coladlm.evaluate.text_likelihood import BoundSettings, text_bound
from coladlm.recipe import Recipe
from coladlm.settings import DESCRIPTIONS, TOKEN_SETTINGS, SamplerSettings
from coladlm.trace import Trace

from . import forked

ROOT = Path(__file__).parent.parent
SHORT = ["--steps", "2", "--max-new-tokens", "8"]
SETTINGS = SamplerSettings(steps=2, max_new_tokens=8)
# A value other than the default for every setting, as it is typed.
TYPED = {
    "steps": "3", "guidance": "2.5", "solver": "heun", "max_new_tokens": "9", "temperature": "0.7", "top_k": "5",
    "top_p": "0.5", "repetition_penalty": "1.3", "no_repeat_ngram_size": "3", "seed": "11", "stop_at_end": "no",
    "stochasticity": "0.25",
    "history": "reencoded", "time_grid": "cosine", "time_shift": "2", "stagger": "0.5", "guidance_interval": "100 900",
    "stop_when_settled": "2", "whole_sentences": "yes", "block_size": "2",
}  # fmt: skip


@pytest.fixture
def place(golden_folder) -> list[str]:
    return place_of(golden_folder)


def place_of(folder: Path) -> list[str]:
    return ["--model", str(folder), "--device", "cpu", "--dtype", "float32"]


@pytest.fixture
def stdin(monkeypatch):
    """Puts bytes on stdin."""

    def put(data: bytes, terminal: bool = False) -> None:
        stream = io.TextIOWrapper(io.BytesIO(data))
        stream.isatty = lambda: terminal
        monkeypatch.setattr(sys, "stdin", stream)

    return put


def generated(capsys, *arguments: str) -> dict:
    assert main(["generate", "--json", *arguments]) == 0
    return json.loads(capsys.readouterr().out)


# generate


def test_generate_prints_the_text_after_its_prompt(model, place, capsys):
    assert main(["generate", "The cat sat", *SHORT, *place]) == 0
    out, err = capsys.readouterr()
    assert out == "The cat sat" + model.generate(["The cat sat"], SETTINGS)[0] + "\n"
    assert err == ""


def test_compiled_layers_are_asked_for_by_an_option(place, monkeypatch, capsys):
    asked = []
    monkeypatch.setattr("coladlm.sampling.form.compiled_pieces", lambda dit, **how: asked.append(dit))
    for option, times in (("--no-compiled", 0), ("--compiled", 1)):
        assert main(["generate", "The cat", option, *SHORT, *place]) == 0
        assert len(asked) == times


def test_the_form_of_steps_is_asked_for_by_an_option(place, monkeypatch, capsys):
    asked = []
    monkeypatch.setattr("coladlm.model.choose_form", lambda sampler, form, compiled: asked.append(form))
    for option in ([], ["--form", "graph"]):
        assert main(["generate", "The cat", *option, *SHORT, *place]) == 0
    assert asked == ["auto", "graph"]
    with pytest.raises(SystemExit):
        main(["generate", "The cat", "--form", "quick", *place])
    assert "quick" in capsys.readouterr().err


def test_generate_prints_several_texts_one_after_another(model, place, capsys):
    assert main(["generate", "The cat", "a", *SHORT, *place]) == 0
    first, second = model.generate(["The cat", "a"], SETTINGS, sequences=[0, 0])
    assert capsys.readouterr().out == f"[1 of 2]\nThe cat{first}\n\n[2 of 2]\na{second}\n\n"


def test_generate_prints_json_for_pipes(model, place, capsys):
    result = generated(capsys, "The cat", "a", "--variations", "2", *SHORT, *place)
    assert [row["prompt"] for row in result["sequences"]] == ["The cat", "The cat", "a", "a"]
    texts = model.generate(["The cat", "The cat", "a", "a"], SETTINGS, sequences=[0, 1, 0, 1])
    assert [row["text"] for row in result["sequences"]] == texts
    assert {row["reason"] for row in result["sequences"]} <= {"end", "length"}
    assert result["sequences"][0]["tokens"] <= 8
    recipe = Recipe("generate", ("The cat", "a"), SETTINGS, 2, model=model.fingerprint)
    assert Recipe.from_dict(result["recipe"]) == recipe
    assert result["model"] == {"name": model.name, "fingerprint": model.fingerprint}


def words(value: str | float | tuple[float, float]) -> str:
    return value if isinstance(value, str) else " ".join(f"{v:g}" for v in np.ravel(value))


def test_every_setting_is_an_option(place, capsys):
    typed = []
    for name, value in TYPED.items():
        flag = "--" + name.replace("_", "-")
        switch = {"no": ["--no-stop-at-end"], "yes": [flag]}
        typed += switch.get(value) or [flag, *value.split()]
    settings = SamplerSettings.from_dict(generated(capsys, "a", *typed, *place)["recipe"]["settings"])
    for field in dataclasses.fields(SamplerSettings):
        if field.name in TOKEN_SETTINGS:
            continue  # of models whose output layer names tokens, see the next test
        value = getattr(settings, field.name)
        assert value != field.default, field.name
        told = {True: "yes", False: "no"}[value] if isinstance(value, bool) else words(value)
        assert told == TYPED[field.name]


def test_min_p_is_an_option_for_a_model_that_names_tokens(place, capsys):
    found = generated(capsys, "The cat", *SHORT, "--min-p", "0.25")
    assert found["recipe"]["settings"]["min_p"] == 0.25
    assert main(["generate", "The cat", "--min-p", "0.25", *place]) == 2
    assert "min_p is 0.25, expected 0: the output layer of this model names no tokens" in capsys.readouterr().err


def test_help_explains_every_setting(capsys):
    with pytest.raises(SystemExit):
        main(["generate", "--help"])
    shown = " ".join(capsys.readouterr().out.split())
    assert DESCRIPTIONS.keys() == TYPED.keys() | TOKEN_SETTINGS.keys()
    assert [name for name, about in DESCRIPTIONS.items() if " ".join(about.help.split()) not in shown] == []


def test_stdin_is_one_text(stdin, place, capsys):
    stdin("Il était\nune fois 🐉\n".encode())
    assert generated(capsys, *SHORT, *place)["recipe"]["texts"] == ["Il était\nune fois 🐉"]


@pytest.mark.parametrize("dash", [[], ["-"]])
def test_stdin_may_be_many_texts(stdin, place, capsys, dash):
    stdin(b"The cat\r\n\n  \nThe dog")
    assert generated(capsys, *dash, "--lines", *SHORT, *place)["recipe"]["texts"] == ["The cat", "The dog"]


def test_an_empty_prompt_is_fine_when_it_is_meant(place, capsys):
    assert generated(capsys, "", *SHORT, *place)["recipe"]["texts"] == [""]


def test_progress_is_shown_on_a_terminal_and_wiped_out(place, capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert main(["generate", "a", "b", *SHORT, *place]) == 0
    err = capsys.readouterr().err
    assert "block 1, step 1 of 2, 0." in err and err.endswith("\r\x1b[K")


# replay


RUN_FILES = {"recipe": "run.json", "trace": "run.npz", "result": "result.json"}


@pytest.fixture(scope="module")
def kept(tmp_path_factory, golden_folder) -> Path:
    """A folder with a recipe, a trace, a result and the printed texts of one run."""
    folder = tmp_path_factory.mktemp("kept")
    recipe, trace, result = (folder / name for name in RUN_FILES.values())
    keep = ["--json", "--recipe", str(recipe), "--trace", str(trace)]
    for file, options in ((result, keep), (folder / "printed.txt", [])):
        with contextlib.redirect_stdout(io.StringIO()) as out:
            assert main(["generate", "The cat", "a", *options, *SHORT, *place_of(golden_folder)]) == 0
        file.write_text(out.getvalue())
    return folder


@pytest.fixture
def files(kept, tmp_path) -> dict[str, Path]:
    """Copies of those files, which a test may edit."""
    return {what: Path(shutil.copy(kept / name, tmp_path)) for what, name in RUN_FILES.items()}


@pytest.mark.parametrize(
    ("what", "verdict"),
    [
        ("recipe", "a recipe holds no text to compare with."),
        ("result", "the same text."),
        ("trace", "the same text; latents differ by at most 0.0e+00."),
    ],
)
def test_replay_says_whether_the_text_is_the_same(files, kept, place, capsys, what, verdict):
    assert main(["replay", str(files[what]), *place]) == 0
    out, err = capsys.readouterr()
    assert err == f"{files[what]}: {verdict}\n"
    assert out == (kept / "printed.txt").read_text()


def test_replay_finds_another_text_in_a_result(files, place, capsys):
    result = json.loads(files["result"].read_text())
    result["sequences"][1]["text"] += "!"
    files["result"].write_text(json.dumps(result))
    assert main(["replay", str(files["result"]), "--json", *place]) == 1
    out, err = capsys.readouterr()
    assert "another text, first in sequence 2." in err
    assert json.loads(out)["same"] is False


def test_replay_finds_another_text_in_a_trace(files, place, capsys):
    trace = Trace.load(files["trace"])
    trace.token_ids[1, 1, 2] += 1
    trace.save(files["trace"])
    assert main(["replay", str(files["trace"]), *place]) == 1
    assert "another text, first in sequence 2, block 2, token 3." in capsys.readouterr().err


@pytest.mark.parametrize(("edited", "verdict"), [
    ({"prompts": ["another", "one"]}, "the same tokens, but other prompts in the file."),
    ({"reasons": ["x", "y"]}, "the same tokens, but other reasons in the file."),
    ({"texts": ["a", "b"]}, "the same tokens, but other texts in the file."),
])  # fmt: skip
def test_replay_finds_other_words_about_the_same_tokens(files, place, capsys, edited, verdict):
    dataclasses.replace(Trace.load(files["trace"]), **edited).save(files["trace"])
    assert main(["replay", str(files["trace"]), *place]) == 1
    assert verdict in capsys.readouterr().err


@pytest.mark.parametrize("what", ["steps a block", "sequences"])
def test_replay_says_where_a_recipe_is_not_that_of_its_arrays(files, place, capsys, what):
    trace = Trace.load(files["trace"])
    recipe, settings = trace.recipe, trace.recipe.settings
    settings = dataclasses.replace(settings, steps=settings.steps + 1)
    other = {"settings": settings} if what == "steps a block" else {"texts": recipe.texts[:1]}
    found = trace.z.shape[2 if what == "steps a block" else 0]
    by_recipe = found + 1 if what == "steps a block" else 1
    dataclasses.replace(trace, recipe=dataclasses.replace(recipe, **other)).save(files["trace"])
    assert main(["replay", str(files["trace"]), *place]) == 1
    assert f"{found} {what} in the file, {by_recipe} by its recipe: one was edited." in capsys.readouterr().err


def test_replay_saves_the_new_trace(files, place, tmp_path):
    assert main(["replay", str(files["recipe"]), "--trace", str(tmp_path / "again.npz"), *place]) == 0
    again, trace = Trace.load(tmp_path / "again.npz"), Trace.load(files["trace"])
    assert again.answers == trace.answers and (again.preview_ids == trace.preview_ids).all()


def test_a_file_is_not_written_over_another_of_the_same_run(files, place, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    before = files["trace"].read_bytes()
    assert main(["replay", str(files["trace"]), "--trace", os.path.relpath(files["trace"]), *place]) == 2
    assert "found the same file twice, expected one for each" in capsys.readouterr().err
    for command in (["generate", "a"], ["fill", "a ___"]):
        assert main([*command, "--recipe", "other.json", "--trace", "./other.json", *SHORT, *place]) == 2
    assert files["trace"].read_bytes() == before and not Path("other.json").exists()


def test_replay_of_another_models_recipe_warns(files, place, capsys):
    recipe = dataclasses.replace(Recipe.from_json(files["recipe"].read_bytes()), model="0" * 16)
    files["recipe"].write_text(recipe.to_json())
    assert main(["replay", str(files["recipe"]), *place]) == 0
    assert "This recipe was made with the model 0000000000000000" in capsys.readouterr().err


# info, train, help


def test_info_says_what_a_checkpoint_is(model, golden_folder, capsys):
    assert main(["info", str(golden_folder), "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert data["fingerprint"] == model.fingerprint
    assert data["cola_dit"]["config"]["num_layers"] == 3 and data["cola_vae"]["config"]["vocab_size"] == 320
    derived = 3 * model.dit.config.rope_dim // 2  # the angles of each layer stand in the file and are no parameters
    assert data["cola_vae"]["parameters"] + data["cola_dit"]["parameters"] == model.parameters + derived
    assert SamplerSettings.from_dict(data["sampler"]) == model.defaults
    assert main(["info", "--model", str(golden_folder)]) == 0
    out = capsys.readouterr().out
    assert model.fingerprint in out and re.search(r"guidance +7\n", out) and re.search(r"clip_qkv +null\n", out)


def test_likelihood_says_a_bound_and_its_parts(model, place, capsys):
    argv = ["likelihood", " ran home.", "--context", "The cat", "--draws", "2", *place]
    assert main([*argv, "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["bound"] == text_bound(model, " ran home.", "The cat", BoundSettings(draws=2)).to_dict(model)
    assert said["transformer"]["nats"] > 0
    assert main(argv) == 0
    out = capsys.readouterr().out
    assert f"at most {said['bound']['nats']:.1f} ± {said['bound']['standard_error']:.1f} nats" in out
    assert (
        out.count("flow, ") == len(said["bound"]["levels"]) and f"{said['transformer']['nats']:.1f} nats exactly" in out
    )


def test_likelihood_of_what_the_transformer_cannot_read_and_of_an_emoji(place, capsys):
    assert main(["likelihood", "\U0001f600" + " a" * 260, "--draws", "2", *place]) == 0
    out = capsys.readouterr().out
    assert "'\U0001f600'" in out and "\ufffd" not in out
    assert re.search(r"\nThis text has \d+ tokens; the transformer reads at most 256\.\n$", out)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command, capsys):
    with pytest.raises(SystemExit) as exit_:
        main([command, "--help"])
    out = capsys.readouterr().out
    assert exit_.value.code == 0
    assert out.startswith(f"usage: python -m coladlm {command}")
    assert command == "train" or f"  python -m coladlm {command}" in out


@pytest.mark.parametrize("argv", [[], ["--help"]])
def test_help_lists_the_commands(argv, capsys):
    with contextlib.suppress(SystemExit):
        assert main(argv) == 0
    out = capsys.readouterr().out
    for command in COMMANDS:
        assert f"\n    {command} " in out


# mistakes


@pytest.mark.parametrize(
    ("argv", "sentence"),
    [
        (["dance"], "invalid choice: 'dance'"),
        (["generate", "a", "--speed", "3"], "unrecognized arguments: --speed 3"),
        (["generate", "a", "--steps", "many"], "argument --steps: invalid int value: 'many'"),
        (["generate", "a", "--steps", "0"], "steps is 0, expected a number from 1 to 1000"),
        (["generate", "a", "--solver", "magic"], "solver is 'magic', expected one of euler"),
        (["generate", "a", "--variations", "65"], "variations is 65, expected a whole number from 1 to 64"),
        (["generate", "a", "--model", "nowhere"], "nowhere: found nothing, expected a folder"),
        (["generate", "a", "--device", "abacus"], "device 'abacus' cannot be used"),
        (["generate", "a", "--dtype", "int4"], "dtype is 'int4'"),
        (["generate", "word " * 9000], "tokens, expected at most"),
        (
            ["generate", "a", "--trace", "nowhere/run.npz"],
            "nowhere/run.npz: expected the name of a file in",
        ),
        (["generate", "half \udcff"], "texts[0] is a text with half a character (U+DCFF) at 5"),
        (["generate", "a", "--trace", "/dev/null"], "/dev/null: found a device or a pipe"),
        (["generate", "a", "--recipe", "nowhere/run.json"], "expected the name of a file in an existing folder"),
        (["bench", "structured", "--transformer", "x"], "(help: python -m coladlm bench structured --help)"),
        (["bench", "structured", "--picture", "x.xyz"], "x.xyz: expected a name that ends in .png, .svg or .pdf"),
        (["bench", "structured", "--json", "nowhere/x.json"], "nowhere/x.json: expected the name of a file"),
        (["bench", "structured", "--log", "nowhere/x.jsonl"], "nowhere/x.jsonl: expected the name of a file"),
        (["bench", "tasks", "--data", ".", "--limit", "10"], "--limit is given without --run"),
        (["bench", "tasks", "--data", ".", "--own-settings"], "--own-settings is given without --run"),
        (["evaluate", "--data", ".", "--json", "nowhere/x.json"], "nowhere/x.json: expected the name of a file"),
        (["sweep", "--data", ".", "--json", "nowhere/x.json"], "nowhere/x.json: expected the name of a file"),
        (["sweep", "--data", ".", "--json", "x.json", "--picture", "x"], "x: expected a name that ends in .png"),
        (["train", "all", "--minutes", "0"], "argument --minutes: found 0, expected a number above 0"),
        (["replay"], "the following arguments are required: file"),
        (["replay", "nowhere.json"], "nowhere.json: No such file or directory"),
        (["info", "nowhere"], "nowhere: found nothing"),
        (["likelihood", "a", "--draws", "1"], "draws is 1, expected a whole number from 2 to 4096"),
    ],
)
def test_mistakes_get_one_line_and_status_2(place, capsys, argv, sentence):
    if argv[0] == "generate":  # the last of two options counts
        argv = [argv[0], *place, *argv[1:]]
    with contextlib.suppress(SystemExit) as caught:
        assert main(argv) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1
    assert err.startswith("python -m coladlm") and sentence in err
    assert caught is None or caught.code == 2


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"", "recipe is not JSON"),
        (b"PK but no zip", "not an .npz file, or a damaged one"),
        (b'{"operation": "generate"}', "texts is missing"),
        (b'{"operation": "dance", "texts": ["a"]}', "operation is 'dance', expected one of generate"),
        (b'{"recipe": {"operation": "generate", "texts": ["a"]}, "sequences": [1]}', "its sequences have no text"),
        (b'{"recipe": 1, "sequences": []}', "recipe is 1, expected an object"),
    ],
)
def test_replay_of_a_wrong_file_gets_one_line(tmp_path, place, capsys, data, sentence):
    (tmp_path / "file").write_bytes(data)
    assert main(["replay", str(tmp_path / "file"), *place]) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1 and sentence in err


@pytest.mark.parametrize(
    ("data", "terminal", "arguments", "sentence"),
    [
        (b"\xff", False, [], "stdin is not UTF-8 at byte 0"),
        (b"\n \n", False, ["--lines"], "stdin has no line with a text"),
        (b"", True, [], "there is no text to continue"),
    ],
)
def test_stdin_without_a_text_gets_one_line(stdin, place, capsys, data, terminal, arguments, sentence):
    stdin(data, terminal)
    assert main(["generate", *arguments, *place]) == 2
    assert sentence in capsys.readouterr().err


def test_an_error_of_the_program_keeps_its_traceback(place, monkeypatch):
    monkeypatch.setattr("coladlm.cli.generate.play", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        main(["generate", "a", *place])


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="there is no /proc, where nobody may make a file")
def test_a_place_where_no_file_can_be_made_is_told_before_the_work(capsys):
    assert main(["bench", "structured", "--items", "1", "--json", "/proc/x.json"]) == 2
    err = capsys.readouterr().err
    assert "/proc/x.json: cannot be written" in err and "partial" not in err and err.count("\n") == 1


def test_progress_without_a_terminal_has_a_line_now_and_then(capsys, monkeypatch):
    seconds = iter(range(0, 1000, 4))
    monkeypatch.setattr(terminal_progress.time, "monotonic", lambda: float(next(seconds)))
    progress = TerminalProgress()
    for done in range(8):
        progress("answers", done, 7)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "answers: 0 of 7" and lines[-1] == "answers: 7 of 7" and 3 < len(lines) < 8


@pytest.mark.parametrize("log", [None, "items.jsonl"])
def test_a_stopped_bench_says_how_it_goes_on(tmp_path, capsys, monkeypatch, log):
    def stop(progress, what, done, total):
        if done:
            raise KeyboardInterrupt

    monkeypatch.setattr(TerminalProgress, "__call__", stop)
    more = [] if log is None else ["--log", str(tmp_path / log)]
    assert main(["bench", "structured", "--items", "1", "--tasks", "copy", "--no-longer", *more]) == STOPPED
    err = capsys.readouterr().err
    assert (
        "With --log FILE.jsonl the same command goes on" if log is None else f"items are in {tmp_path / log}"
    ) in err


# as a process of its own


def test_a_pipe_gets_the_text_alone_and_ctrl_c_leaves_it_and_a_trace(place, tmp_path):
    trace, prompt, said = tmp_path / "run.npz", tmp_path / "prompt.txt", tmp_path / "said.txt"
    prompt.write_text("The cat 🐉\n", encoding="utf-8")
    length = ["--steps", "100", "--max-new-tokens", "8000", "--no-stop-at-end"]
    reading, writing = os.pipe()
    with prompt.open() as text, said.open("w") as errors, open(reading, "rb", buffering=0) as out:
        streams = [text.fileno(), writing, errors.fileno()]
        process = forked.started(
            forked.command, ["generate", *length, "--trace", str(trace), *place], streams, [reading]
        )
        os.close(writing)
        first = b""
        while len(first) < len(prompt.read_bytes()):  # the text comes out while it is being written
            first += out.read(1)
        os.kill(process.pid, signal.SIGINT)
        rest = out.readall()
        process.join(60)
    assert process.exitcode == 130
    assert said.read_text() == "Stopped: this is what there was.\n"
    stopped = Trace.load(trace)
    assert stopped.stopped and stopped.texts[0]
    assert (first + rest).decode() == f"The cat 🐉{stopped.texts[0]}\n"


def test_a_reader_that_leaves_gets_no_traceback(place):
    """The command as it is typed, in a Python of its own."""
    typed = ["generate", "Once", "--steps", "1", "--max-new-tokens", "4000", "--no-stop-at-end", *place]
    environment = {**os.environ, "PYTHONIOENCODING": "utf-8", "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen([sys.executable, "-m", "coladlm", *typed], cwd=ROOT, env=environment, bufsize=0,
                               stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)  # fmt: skip
    process.stdout.read(5)
    process.stdout.close()
    err = process.stderr.read()
    assert process.wait(60) == 1 and err == b""


@pytest.mark.parametrize(
    ("typed", "sentence"),
    [
        (["--seed", "9007199254740992"], "seed is 9007199254740992, expected a number from 0 to 9007199254740991"),
        (["--temperature", "nan"], "temperature is nan, expected a number"),
        (["--top-p", "-0.0"], "top_p is 0.0, expected a number more than 0"),
        (["--repetition-penalty", "1e-45"], "repetition_penalty is 1e-45, expected a number from 0.01 to 100"),
    ],
)
def test_a_setting_out_of_bounds_gets_one_line(place, capsys, typed, sentence):
    assert main(["generate", "a", *typed, *place]) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1 and sentence in err


def test_the_name_of_a_special_token_is_a_prompt_like_any_other(place, capsys, model):
    assert main(["edit", 'He typed "<|pad|>" twice', "--words", "typed", "--json", "--steps", "2", *place]) == 0
    texts = [sequence["text"] for sequence in json.loads(capsys.readouterr().out)["sequences"]]
    assert texts and all(text.endswith('"<|pad|>" twice') for text in texts)
