"""The tab Model: what is loaded, another in its place, a text through the VAE, speed, licences, the model's card."""

from __future__ import annotations

import html
import re
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gradio as gr

from coladlm import ColaDLM
from coladlm.checkpoint import BUNDLED
from coladlm.evaluate.speed import Speed, quick_speed
from coladlm.hardware.devices import gpu_bytes, software
from coladlm.serve import Scheduler, Waiting
from coladlm.serve.threads import set_threads

from ..components import ProgressLine
from ..components.progress_line import progress_value
from ..components.round_trip import RoundTrip
from ..components.saver import Saver
from ..shared.amounts import in_millions
from ..shared.errors import sentence
from ..shared.event_options import EVERY, UNLIMITED, EventOptions
from ..shared.resident import Resident
from ..shared.saving import file_or_reason
from ..shared.session import current_visitor
from ..shared.settings_panel import in_labels
from ..shared.tab_links import TabLinks
from ..shared.waiting import waiting_parts
from .own_settings import settings_line
from .round_trip import latent_file, round_trip

try:
    import resource
except ImportError:  # not on Windows
    resource = None

NAME = "model"
WATCH_SECONDS = 0.3
LONGEST_PATH = 1000
TEXT = "The little dog ran home. It was happy to see the old house again."
FILES = (
    ("npz", "Latents (npz)", "Token ids, means and standard deviations as numpy arrays"),
    ("csv", "Latents (CSV)", "A row for every latent"),
)
QUICK: EventOptions = {"show_progress": "hidden", "api_visibility": "private"}
NOT_ALLOWED = (
    "Another model can be loaded here only where whoever runs the page allows it (the option --allow-loading)."
)
LICENCES = (
    "<p>The program and the bundled weights are Apache-2.0. The method is Cola-DLM (ByteDance Seed, arXiv:2605.06548). "
    "The bundled model and the baseline were trained on TinyStories (Eldan and Li 2023, arXiv:2305.07759), which is "
    "CDLA-Sharing-1.0 and not included; its sentences where they are quoted, as on the tab Map, too. "
    "A checkpoint that is loaded from elsewhere has its own licence, which stands with it. See NOTICE.</p>"
)


def build(resident: Resident, page: gr.Blocks) -> TabLinks:
    """Lays the tab out inside the current context of `page` and connects it; says how a text comes in."""
    allow_loading = resident.may_load
    with gr.Column(elem_classes="workbench model-tab", elem_id=NAME):
        facts = gr.HTML(facts_html(resident.model), elem_id="facts", js_on_load=None)
        _title(
            "Another model",
            "A folder on this machine, or a Hub id such as owner/name. The page stays usable while "
            "it loads; runs that are under way end with the model they began with."
            if allow_loading
            else NOT_ALLOWED,
        )
        loader = _loader() if allow_loading else None
        text, trip, tokens, trip_line, saver = _lay_out_round_trip()
        measure, speed, speed_line = _lay_out_speed()
        with gr.Accordion("Licences", open=False, elem_classes="more beside"):
            gr.HTML(LICENCES, js_on_load=None)
        card = gr.Accordion(
            "The model's card", open=False, elem_classes="more beside", visible=resident.model.name == "bundled"
        )
        with card:
            gr.Markdown(card_text(), elem_id="model-card", sanitize_html=True)

    def on_trip(text: str) -> tuple[Any, Any]:
        return there_and_back(resident.model, resident.scheduler, text)

    def on_save(event: gr.EventData, text: str) -> dict[str, Any]:
        return save_latents(resident.model, resident.scheduler, event.kind, text)

    def on_measure() -> Iterator[tuple[Any, Any]]:
        yield from measure_speed(resident.model, resident.scheduler)

    def on_show() -> tuple[Any, Any]:
        return facts_html(resident.model), gr.Accordion(visible=resident.model.name == "bundled")

    def on_load(path: str) -> Iterator[tuple[Any, Any]]:
        yield from load_model(resident, path, allow_loading)

    trip.click(on_trip, text, [tokens, trip_line], trigger_mode="once", **QUICK, **UNLIMITED)
    saver.select(on_save, text, saver, **EVERY, **QUICK, **UNLIMITED)
    measure.click(on_measure, None, [speed, speed_line], trigger_mode="once", **QUICK, **UNLIMITED)
    page.load(on_show, None, [facts, card], queue=False, **QUICK)
    loaded = None
    if loader is not None:
        path, load, loading = loader
        triggers = [load.click, path.submit]
        requested = gr.on(triggers, on_load, path, [facts, loading], trigger_mode="once", concurrency_limit=8, **QUICK)
        loaded = requested.then(on_show, None, [facts, card], queue=False, **QUICK).then
    return TabLinks(take=lambda text: [text], outputs=[text], loaded=loaded)


def _lay_out_round_trip() -> tuple[gr.Textbox, gr.Button, RoundTrip, ProgressLine, Saver]:
    """A text through the VAE and back."""
    with gr.Column(elem_classes="beside bare", elem_id="trip"):
        _title(
            "A text through the VAE and back",
            "The encoder makes every token a latent, a small cloud rather than "
            "a point (the posterior); the decoder reads the tokens out of the latents again.",
        )
        text = gr.Textbox(TEXT, label="Text", lines=2, max_lines=8, elem_classes="prompt-box")
        trip = gr.Button("Encode and decode", elem_classes="small-run")
        trip_line = ProgressLine(elem_classes="fold-progress")
        tokens = RoundTrip(elem_id="tokens")
        saver = Saver("Save", FILES)
    return text, trip, tokens, trip_line, saver


def _lay_out_speed() -> tuple[gr.Button, gr.HTML, ProgressLine]:
    """How fast a step is on this machine."""
    with gr.Column(elem_classes="beside bare", elem_id="speed"):
        _title(
            "Speed",
            "A guided step of the sampler next to the bare matrix products that it cannot do without, "
            "timed in turns on this machine: at a ratio of 1 a step would cost nothing else.",
        )
        measure = gr.Button("Measure (a few seconds)", elem_classes="small-run")
        speed_line = ProgressLine(elem_classes="fold-progress")
        speed = gr.HTML("", elem_id="speed-numbers", js_on_load=None)
    return measure, speed, speed_line


def _loader() -> tuple[gr.Textbox, gr.Button, ProgressLine]:
    """What another model is loaded with: its path, the button, and how far it is."""
    with gr.Row(elem_classes="load-row"):
        path = gr.Textbox(label="Folder or Hub id", max_lines=1, max_length=LONGEST_PATH, min_width=200)
        load = gr.Button("Load", min_width=100, scale=0, elem_classes="small-run")
    return path, load, ProgressLine(elem_classes="fold-progress")


def _title(name: str, about: str) -> None:
    gr.HTML(f"<h2>{name}</h2><p>{about}</p>", elem_classes="section-title", js_on_load=None)


def _no_path(path: str) -> str:
    """What is wrong with it."""
    if not path:
        return "is empty, expected one"
    if len(path) > LONGEST_PATH:
        return f"is {len(path):,} characters long, expected at most {LONGEST_PATH:,}"
    return "holds characters that no path has, expected others"


def load_model(resident: Resident, path: str, allowed: bool, device: str = "auto",
               dtype: str = "auto") -> Iterator[tuple[Any, Any]]:  # fmt: skip
    """Loads a model in the background and watches it: (facts, progress line). Opens no path unless `allowed`."""
    if not allowed:
        yield gr.skip(), progress_value("error", message=NOT_ALLOWED)
        return
    path = (path or "").strip()
    if not path.isprintable() or not 0 < len(path) <= LONGEST_PATH:
        yield gr.skip(), progress_value("error", message=f"The folder or Hub id {_no_path(path)}.")
        return
    begun = time.perf_counter()

    def read(path: str, progress: Callable[[float], None]) -> ColaDLM:
        model = ColaDLM.from_pretrained(path, device=device, dtype=dtype, progress=progress)
        set_threads(model)
        return model

    loading = resident.load(path, read)
    if loading.path != path:
        yield gr.skip(), progress_value("error", message="Another model is being loaded: try again when it is there.")
        return
    while loading.state == "loading":
        note = f"Loading {loading.path}; the page goes on with the present model."
        yield gr.skip(), progress_value("running", [f"{time.perf_counter() - begun:.0f} s"], loading.share, note)
        time.sleep(WATCH_SECONDS)
    if loading.error is not None:
        yield gr.skip(), progress_value("error", message=f"Not loaded: {sentence(loading.error)}")
        return
    seconds = f"{time.perf_counter() - begun:.1f} s"
    done = progress_value("done", ["loaded: what is run from now on is run with it", seconds], 1.0, "Loaded.")
    yield facts_html(resident.model), done


def there_and_back(model: ColaDLM, scheduler: Scheduler, text: str) -> tuple[Any, Any]:
    """A text through the VAE and back: values of (RoundTrip, its progress line)."""
    try:
        return scheduler.look(lambda: round_trip(model, text)), progress_value("idle")
    except Exception as error:  # a visitor gets a sentence, never a traceback; see `sentence`
        return None, progress_value("error", message=in_labels(sentence(error)))


def save_latents(model: ColaDLM, scheduler: Scheduler, kind: str, text: str) -> dict[str, Any]:
    """The latents of a text for a Saver. What is wrong comes as a sentence."""
    return file_or_reason(lambda: scheduler.look(lambda: latent_file(model, kind, text)))


def measure_speed(model: ColaDLM, scheduler: Scheduler) -> Iterator[tuple[Any, Any]]:
    """A quick measurement, in turns with what others do: (numbers as HTML, progress line)."""
    yield gr.skip(), progress_value("running", ["measuring"], 0.3, "Measuring")
    found = None
    try:
        with scheduler.alone(lambda: quick_speed(model), current_visitor(), "speed") as events:
            for event in events:
                if isinstance(event, Waiting) and event.ahead:
                    yield gr.skip(), progress_value("waiting", waiting_parts(event), 0.0, "Waiting")
                if isinstance(event, Speed):
                    found = event
    except Exception as error:
        yield gr.skip(), progress_value("error", message=in_labels(sentence(error)))
        return
    assert found is not None  # the last event of every measurement
    step, products = 1000 * found.step, 1000 * found.products
    rows = [
        ("A guided step", f"{step:.2f} ms"),
        ("Its bare products", f"{products:.2f} ms"),
        ("Ratio", f"{step / products:.2f}"),
        (f"Writing one text at {found.steps} steps a block", f"{found.tokens:.0f} tokens/s"),
    ]
    yield (
        _table(rows),
        progress_value("done", ["the numbers include whatever else the machine does now"], 1.0, "Measured."),
    )


def facts_html(model: ColaDLM) -> str:
    """What is loaded, as HTML."""
    vae, dit = model.vae.config, model.dit.config
    sizes = [sum(p.numel() for p in network.parameters()) for network in (model.vae, model.dit)]
    tensors = [x for network in (model.vae, model.dit) for x in (*network.parameters(), *network.buffers())]
    weights = sum(x.numel() * x.element_size() for x in tensors)
    rows = [
        ("Model", "the bundled one" if model.name == "bundled" else model.name or "unnamed"),
        ("Fingerprint", model.fingerprint or "none"),
        ("Text VAE", f"{in_millions(sizes[0])} parameters, width {vae.dim}, {vae.encoder_num_blocks} encoder and "
                     f"{vae.decoder_num_blocks} decoder layers"),
        ("DiT", f"{in_millions(sizes[1])} parameters, width {dit.txt_dim}, {dit.num_layers} layers"),
        ("Latents", f"{model.latent_dim} channels, {_many(model.patch_size, 'token')} each, blocks of "
                    f"{model.block_size}"),
        ("Vocabulary", f"{vae.vocab_size:,} tokens"),
        ("Device and precision", f"{model.device}, {str(model.dtype).removeprefix('torch.')}"),
        ("Memory", f"{weights / 1e6:.0f} MB of weights; {_used(gpu_bytes(model.device))}"),
        ("Its own settings", settings_line(model.defaults)),
        ("Software", f"{software()}, Python {sys.version.split()[0]}"),
    ]  # fmt: skip
    return "<h2>What is loaded</h2>" + _table(rows)


def _table(rows: list[tuple[str, str]]) -> str:
    cells = "".join(f"<tr><th scope='row'>{html.escape(a)}</th><td>{html.escape(b)}</td></tr>" for a, b in rows)
    return f"<table class='facts'><tbody>{cells}</tbody></table>"


def _many(count: int, what: str) -> str:
    return f"{count} {what}" + ("" if count == 1 else "s")


def _used(on_gpu: int | None) -> str:
    if on_gpu is not None:
        return f"{on_gpu / 1e6:,.0f} MB allocated on the GPU"
    if resource is None:
        return "how much the whole program has used is not known on this system"
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return f"the whole program has used {peak / 1e6:,.0f} MB at most"


def card_text(folder: Path = BUNDLED) -> str:
    """The card of the bundled model as Markdown, without pictures and with links as plain words."""
    file = folder / "README.md"
    if not file.is_file():
        return "It has none."
    text = re.sub(r"\A---\n.*?\n---\n", "", file.read_text(encoding="utf-8"), flags=re.S)
    text = re.sub(r"!\[[^\]]*\]\([^)]*\)", "", text)
    return re.sub(r"\[([^\]]*)\]\((?!https?:)[^)]*\)", r"\1", text)
