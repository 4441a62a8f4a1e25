"""Roads begin and end at their texts, run as one batch, and refuse what makes no road."""

import dataclasses
import itertools
import re

import pytest
import torch

from coladlm import BlockDone, Finished, PromptError, SamplerSettings, Step
from coladlm.cli.operation import plain
from coladlm.latent import Interpolation, Inverting, Trying, lay_out, run_interpolate
from coladlm.latent.distances import changed_tokens, token_distance
from coladlm.latent.fit import text_misfits
from coladlm.latent.interpolate import DRAWS, METHODS, SENTENCE_END, waypoint_count, waypoint_weights
from coladlm.latent.waypoints import arch, stretch
from coladlm.recipe import Recipe, RecipeError

FIRST, SECOND, THIRD = "The cat sat", "She said hello to the bird and he sang", "One day"
SETTINGS = SamplerSettings(steps=2, guidance=2.0, max_new_tokens=6)
WRITING = ("through_flow", "decoder_only")  # roads whose ends are their texts under any weights


def recipe(*texts: str, settings: SamplerSettings = SETTINGS, **options) -> Recipe:
    """From noise to noise with few iterations: what most tests ask of that road holds of ends that are not exact."""
    few = {"iterations": 2} if options.get("road") == "noise_to_noise" else {}
    return Recipe("interpolate", texts or (FIRST, SECOND), settings, options={"stops": 5, **few, **options})


def walk(model, recipe: Recipe) -> Interpolation:
    return [event for event in run_interpolate(model, recipe) if isinstance(event, Interpolation)][-1]


@pytest.mark.parametrize("align", ["pad", "stretch"])
@pytest.mark.parametrize("road", WRITING)
def test_a_road_begins_and_ends_at_its_texts(model, road, align):
    outcome = walk(model, recipe(road=road, align=align))
    assert [outcome.waypoints[row].text for row in outcome.ends] == [FIRST, SECOND]
    assert outcome.waypoints[0].token_distances[0] == outcome.waypoints[-1].token_distances[1] == 0
    assert outcome.waypoints[0].latent_distances[0] < 1e-3 and outcome.waypoints[-1].latent_distances[1] < 1e-3
    assert outcome.waypoints[0].token_distances[1] == outcome.waypoints[-1].token_distances[0] > 0


def test_a_road_through_three_texts_stops_at_each(model):
    outcome = walk(model, recipe(FIRST, SECOND, THIRD))
    assert outcome.ends == (0, 4, 8)
    assert [outcome.waypoints[row].text for row in outcome.ends] == [FIRST, SECOND, THIRD]


def test_the_road_from_prompt_to_prompt_begins_and_ends_at_its_prompts(model):
    outcome = walk(model, recipe(road="prompt_to_prompt"))
    assert [outcome.waypoints[row].prompt for row in outcome.ends] == [FIRST, SECOND]
    assert all(stop.text.startswith(stop.prompt) for stop in outcome.waypoints)


def test_the_ends_from_prompt_to_prompt_are_what_generating_gives(model):
    outcome = walk(model, recipe(road="prompt_to_prompt"))
    written = model.generate([FIRST, SECOND], SETTINGS, sequences=[0, 0])
    assert [stop.text for stop in (outcome.waypoints[0], outcome.waypoints[-1])] == [
        FIRST + written[0],
        SECOND + written[1],
    ]


def test_the_ends_from_noise_to_noise_have_their_texts_latents(model):
    settings = dataclasses.replace(SETTINGS, steps=3, guidance=1.0, history="latents", repetition_penalty=1.0,
                                   stop_at_end=False)  # fmt: skip
    latents = []
    for event in run_interpolate(
        model, recipe(road="noise_to_noise", settings=settings, using="as set", iterations=10)
    ):
        if isinstance(event, BlockDone):
            latents.append(event.latents)
    for row, text in ((0, FIRST), (-1, SECOND)):
        layout = lay_out(model, [model.tokenize(text)])[0]
        own = torch.cat([block[row] for block in latents])[: len(layout.latents)]
        torch.testing.assert_close(own, layout.latents, rtol=0, atol=1e-4)


@pytest.mark.parametrize("road", METHODS)
def test_an_end_that_did_not_come_back_is_told(model, road):
    outcome = walk(model, recipe(FIRST, "👩‍🚀 שלום", road=road))
    texts = (FIRST, "👩‍🚀 שלום")
    lost = [n for n, row in enumerate(outcome.ends, 1) if not outcome.waypoints[row].text.startswith(texts[n - 1])]
    told = [note for note in outcome.notes if "did not come back" in note]
    assert len(told) == bool(lost) and all(str(n) in told[0] for n in lost)
    assert lost == [] or road == "noise_to_noise"


@pytest.mark.parametrize("road", METHODS)
def test_all_stops_run_as_one_batch(model, road):
    events = [event for event in run_interpolate(model, recipe(road=road)) if isinstance(event, (Step, BlockDone))]
    assert all(len(event.active) == 5 for event in events)
    assert [event.block for event in events] == sorted(event.block for event in events)


@pytest.mark.parametrize("road", METHODS)
def test_the_outcome_comes_right_before_the_end(model, road):
    events = list(run_interpolate(model, recipe(road=road)))
    assert isinstance(events[-1], Finished) and isinstance(events[-2], Interpolation)
    assert list(events[-1].texts) == [stop.text for stop in events[-2].waypoints]
    assert [tuple(ids) for ids in events[-1].token_ids] == [stop.token_ids for stop in events[-2].waypoints]
    assert all(stop.done and len(stop.latent_distances) == 2 for stop in events[-2].waypoints)


def test_the_texts_are_there_before_anything_is_computed(model):
    first = next(iter(run_interpolate(model, recipe(road="through_flow"))))
    assert isinstance(first, Interpolation)
    assert [(stop.text, stop.done) for stop in (first.waypoints[0], first.waypoints[-1])] == [
        (FIRST, True),
        (SECOND, True),
    ]


def test_stops_say_when_they_are_complete(model):
    roads = [event for event in run_interpolate(model, recipe(road="through_flow")) if isinstance(event, Interpolation)]
    done = [sum(stop.done for stop in road.waypoints) for road in roads]
    assert done[0] == 2 and done[-1] == 5 and done == sorted(done)


@pytest.mark.parametrize("road", METHODS)
def test_a_pair_alone_equals_the_pair_in_company(model, road):
    alone = walk(model, recipe(FIRST, SECOND, road=road))
    company = walk(model, recipe(FIRST, SECOND, "A third text, which is far longer than the other two are", road=road))
    assert [stop.text for stop in company.waypoints[:5]] == [stop.text for stop in alone.waypoints]


@pytest.mark.parametrize("road", WRITING)
def test_there_and_back_is_the_same_road(model, road):
    there, back = walk(model, recipe(FIRST, SECOND, road=road)), walk(model, recipe(SECOND, FIRST, road=road))
    assert [stop.text for stop in there.waypoints] == [stop.text for stop in back.waypoints][::-1]


@pytest.mark.parametrize("road", METHODS)
@pytest.mark.parametrize("texts", [(FIRST, FIRST), (SECOND, FIRST, f" {FIRST}\n")])
def test_a_text_after_the_same_text_is_refused(model, road, texts):
    named = f"texts[{len(texts) - 1}] is the same as texts[{len(texts) - 2}]"
    with pytest.raises(RecipeError, match=re.escape(named)):
        run_interpolate(model, recipe(*texts, road=road))


def test_a_single_waypoint_may_be_the_mean_of_equal_texts(model):
    (waypoint,) = walk(model, recipe(FIRST, FIRST, road="decoder_only", weights=[1.0, 1.0])).waypoints
    assert waypoint.weights == (0.5, 0.5)


@pytest.mark.parametrize("before", ["A\n", "Once upon a time\n", "Hello there, you.\n"])
@pytest.mark.parametrize("road", METHODS)
def test_what_stands_before_is_no_part_of_a_stop(model, road, before):
    outcome = walk(model, recipe(road=road, before=before))
    ends = [outcome.waypoints[row] for row in outcome.ends]
    if road in WRITING:
        assert [stop.text for stop in ends] == [FIRST, SECOND]
    if road == "prompt_to_prompt":
        written = model.generate([before + FIRST, before + SECOND], SETTINGS, sequences=[0, 0])
        assert [stop.text for stop in ends] == [FIRST + written[0], SECOND + written[1]]


def test_what_stands_before_is_heard(model):
    made = [recipe(FIRST, SECOND, renoise=0.9, before=before) for before in ("", "Hello there, you. And ")]
    plain, after = (walk(model, each) for each in made)
    assert [stop.text for stop in plain.waypoints[1:-1]] != [stop.text for stop in after.waypoints[1:-1]]


def test_an_interpolation_without_the_flow_says_so(model):
    assert any("flow was not used" in note for note in walk(model, recipe(road="decoder_only")).notes)


def test_weights_make_a_single_stop_of_all_texts(model):
    outcome = walk(model, recipe(FIRST, SECOND, THIRD, weights=[1, 2, 1]))
    assert [stop.weights for stop in outcome.waypoints] == [(0.25, 0.5, 0.25)]
    assert len(outcome.waypoints[0].latent_distances) == 3


def test_weight_on_one_text_gives_that_text(model):
    for road in WRITING:
        assert walk(model, recipe(FIRST, SECOND, THIRD, weights=[0, 0, 3], road=road)).waypoints[0].text == THIRD


@pytest.mark.parametrize("road", METHODS)
def test_emoji_and_right_to_left_texts_have_roads(model, road):
    outcome = walk(model, recipe("😀 👩‍👧 ok", "שלום עולם", road=road))
    if road in WRITING:
        assert [outcome.waypoints[row].text for row in outcome.ends] == ["😀 👩‍👧 ok", "שלום עולם"]


@pytest.mark.parametrize("road", ["through_flow", "noise_to_noise", "prompt_to_prompt"])
def test_a_road_can_be_stopped_at_any_step(model, road):
    events = run_interpolate(model, recipe(road=road))
    for _ in range(3):
        next(events)
    events.close()
    assert next(events, None) is None


def test_the_way_to_noise_is_told_apart_from_the_run(model):
    kinds = [type(event) for event in run_interpolate(model, recipe(road="noise_to_noise"))]
    last = len(kinds) - kinds[::-1].index(Inverting)
    assert Step not in kinds[:last] and Step in kinds[last:]


@pytest.mark.parametrize(
    ("made", "sentence"),
    [
        (recipe("", SECOND), r"texts\[0\] is empty, expected at least one token"),
        (recipe(FIRST, ""), r"texts\[1\] is empty"),
        (recipe(FIRST), "texts is 1 text, expected at least two"),
        (recipe(FIRST, "word " * 2000), r"texts\[1\] is .* tokens long, expected at most 512"),
        (recipe(before="word " * 700), "options.before is .* tokens long, expected at most 512"),
        (recipe(road="ferry"), "options.road is 'ferry', expected one of"),
        (recipe(stops=1), "options.stops is 1"),
        (recipe(renoise=1.5), "options.renoise is 1.5"),
        (recipe(renoise=-0.1), "options.renoise is -0.1"),
        (recipe(weights=[1.0]), "options.weights"),
        (recipe(weights=[1.0, 2.0, 3.0]), "options.weights is 3 weights that sum to 6, expected 2"),
        (recipe(weights=[0.0, 0.0]), "not all 0"),
        (recipe(road="noise_to_noise", align="stretch"), "options.align is 'stretch', expected pad"),
        (recipe(*["text", "word"] * 5, stops=33), "options.stops is 33, expected at most 128"),
        (dataclasses.replace(recipe(), variations=2), "variations is 2, expected 1"),
    ],
)
def test_odd_input_gets_a_sentence(model, made, sentence):
    with pytest.raises((RecipeError, PromptError), match=sentence):
        run_interpolate(model, made)


def test_weights_go_evenly_from_text_to_text():
    assert waypoint_weights(2, 3) == [(1.0, 0.0), (0.5, 0.5), (0.0, 1.0)]
    assert waypoint_weights(3, 2) == [(1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)]
    assert waypoint_count(recipe(FIRST, SECOND, THIRD)) == 9


def test_the_arch_is_0_at_the_texts_and_1_half_way():
    heights = [arch(weights) for weights in waypoint_weights(2, 9)]
    assert heights[0] == heights[-1] == 0 and heights[4] == 1
    assert all(a < b for a, b in itertools.pairwise(heights[:5]))


def test_stretching_keeps_both_ends_and_the_order():
    for m, n in itertools.product(range(1, 9), range(2, 9)):
        index = stretch(m, n)
        assert len(index) == n and index[0] == 0 and index[-1] == m - 1 and index == sorted(index)


def test_token_distance_counts_single_changes():
    assert token_distance([1, 2, 3], [1, 2, 3]) == 0
    assert token_distance([1, 2, 3], [1, 3]) == token_distance([1, 3], [1, 2, 3]) == 1
    assert token_distance([1, 2, 3], [4, 5]) == 3 and token_distance([], [1, 2]) == 2


def test_changed_tokens_are_those_that_are_new():
    assert changed_tokens([1, 2, 3], [1, 9, 3, 4]) == (False, True, False, True)


def test_as_json_an_interpolation_keeps_the_names_of_its_options(model):
    data = plain(walk(model, recipe(road="decoder_only", stops=3)))
    assert data["road"] == "decoder_only" and [stop["row"] for stop in data["stops"]] == [0, 1, 2]
    assert not {"method", "waypoints"} & data.keys()


# several tries


def test_what_is_chosen_among_several_tries_repeats_with_its_recipe(model):
    asked = recipe(renoise=0.8, tries=3)
    first, again = (walk(model, asked) for _ in range(2))
    assert [waypoint.text for waypoint in first.waypoints] == [waypoint.text for waypoint in again.waypoints]
    assert [first.waypoints[row].text for row in first.ends] == [FIRST, SECOND]


def test_candidates_come_before_the_run_and_name_the_places_they_are_made_for(model):
    events = list(run_interpolate(model, recipe(renoise=0.8, tries=3)))
    tried = [i for i, event in enumerate(events) if isinstance(event, Trying)]
    assert tried and max(tried) < min(i for i, event in enumerate(events) if isinstance(event, Step))
    assert all(events[i].places == (1, 1, 1, 2, 2, 2, 3, 3, 3) for i in tried)


def test_the_chosen_waypoints_are_the_candidates(model):
    """One of them comes twice at most as a neighbour: what is chosen is what was tried, sampled once more."""
    events = list(run_interpolate(model, recipe(renoise=0.8, tries=3)))
    candidates = [event.event for event in events if isinstance(event, Trying) and isinstance(event.event, BlockDone)]
    texts = {text.strip() for text in candidates[-1].texts} | {FIRST, SECOND}
    assert {waypoint.text.strip() for waypoint in events[-2].waypoints} <= texts


def test_every_leg_of_several_texts_has_its_own_candidates(model):
    outcome = walk(model, recipe(FIRST, SECOND, THIRD, renoise=0.8, tries=2))
    assert [outcome.waypoints[row].text for row in outcome.ends] == [FIRST, SECOND, THIRD]
    assert all(waypoint.weights[2] == 0 for waypoint in outcome.waypoints[1:4])
    assert all(waypoint.weights[0] == 0 for waypoint in outcome.waypoints[5:8])


def test_a_waypoint_of_several_tries_has_no_more_sentences_than_its_texts(model):
    outcome = walk(model, recipe("The cat sat.", "She said hello to the bird! He sang.", renoise=1.0, tries=2))
    assert all(len(SENTENCE_END.findall(waypoint.text)) <= 2 for waypoint in outcome.waypoints)


def test_too_many_candidates_are_refused(model):
    with pytest.raises(RecipeError, match="tries is 32 for each"):
        walk(model, recipe(FIRST, SECOND, THIRD, stops=33, tries=32))


@pytest.mark.parametrize("road", METHODS)
def test_every_waypoint_has_the_misfit_of_its_text(model, road):
    outcome = walk(model, recipe(road=road))
    expected = text_misfits(model, [waypoint.token_ids for waypoint in outcome.waypoints], draws=DRAWS)
    found = [float("nan") if waypoint.misfit is None else waypoint.misfit for waypoint in outcome.waypoints]
    assert found == pytest.approx(expected, nan_ok=True)
