"""What a stream shows of a text that ends with a whole sentence, and that requests ask for it by name."""

import torch

from app.api.answers import Answer
from app.api.parsed_request import ParsedRequest, RequestParser
from coladlm import SamplerSettings
from coladlm.recipe import Recipe
from coladlm.sampling.events import BlockDone, Finished


def test_a_stream_sends_no_sentence_that_may_yet_be_left_out(model):
    settings = SamplerSettings(max_new_tokens=64, whole_sentences=True)
    answer = Answer(model, ParsedRequest(Recipe("generate", ("A",), settings), (1,)))
    shown = []
    for text in ("The cat", "The cat sat.", "The cat sat. It was", "The cat sat. It was red. A"):
        ids = torch.zeros(1, model.vae.config.tokens_per_block, dtype=torch.long)
        answer.take(BlockDone(1, None, ids, None, None, [text], torch.ones(1, dtype=torch.bool)))
        shown.append(answer.choices[0].text)
    assert shown == ["", "", "The cat sat.", "The cat sat. It was red."]
    answer.take(Finished(["length"], ["The cat sat. It was red."], [[5]]))
    assert answer.choices[0].text == "The cat sat. It was red." and answer.choices[0].reason == "length"


def test_a_request_gets_all_of_its_tokens_unless_it_says_otherwise(model):
    parser = RequestParser()
    for given, wanted in (({}, False), ({"whole_sentences": True}, True)):
        request = parser.completion({"prompt": "A", "max_tokens": 4, **given}, model)
        assert request.recipe.settings.whole_sentences is wanted
