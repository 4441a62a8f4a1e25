"""Signatures of components are kept, and are those that Python finds."""

import inspect

import gradio as gr
from gradio.blocks import Block

from app.components.tour import Tour
from app.signatures import keep_signatures


def kinds(kind=Block):
    return {kind, *(one for derived in kind.__subclasses__() for one in kinds(derived))}


def anew(kind):
    """The signature of `__init__` as Python puts it together where none is kept."""
    made_by = inspect.unwrap(kind.__init__)
    kept = vars(made_by).pop("__signature__", None)
    try:
        return inspect.signature(made_by), inspect.getfullargspec(made_by)
    finally:
        if kept is not None:
            made_by.__signature__ = kept


def test_every_component_has_the_signature_that_python_finds():
    found = {kind: anew(kind) for kind in kinds()}
    keep_signatures()
    assert {Tour, gr.HTML, gr.Row} < found.keys()
    for kind, (signature, arguments) in found.items():
        assert inspect.signature(kind.__init__) == signature
        assert inspect.getfullargspec(inspect.unwrap(kind.__init__)) == arguments


def test_nothing_is_put_together_anew_while_a_component_is_made(monkeypatch):
    keep_signatures()

    def put_together(*given, **options):
        raise AssertionError("a signature was put together anew")

    monkeypatch.setattr(inspect, "_signature_from_function", put_together)
    config = gr.Number(3, label="Seed", precision=0).get_config()
    assert (config["value"], config["label"], config["precision"]) == (3, "Seed", 0)
