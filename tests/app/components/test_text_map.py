"""Texts as points: found, listed, selected, compared and sent on, in the browser alone."""

import json

import pytest
from playwright.sync_api import expect

from app.components.text_map import text_map_value
from coladlm.latent.reference_cloud import load_sentences

from .conftest import NARROW, WIDE
from .values import Texts

# those of a size after each other, for a map is drawn once for all of them
SIZES = pytest.mark.parametrize("size", [WIDE, NARROW], ids=["1280", "390"], scope="module")
COUNT = 150  # more than are listed at once


@pytest.fixture(scope="module")
def texts(bundled, tmp_path_factory):
    """Sentences that ship with the app, at the latents of the bundled model."""
    file = tmp_path_factory.mktemp("texts") / "mine.txt"
    file.write_text("\n".join(load_sentences()[:COUNT]))
    return Texts(bundled, file)


@pytest.fixture
def map_of(parts, bare, texts):
    """map_of(size, value) shows the sentences on a map.

    It stays for the next test of its size, which finds on it what it would find on a new one. from_file: how the map is
    looked at, as a file says; such a map is a new one.
    """

    def show(size=NARROW, value=None, from_file=None):
        value = value or texts.value
        kept = "" if from_file else f"a map of {size['width']}"
        value = value | {"view": from_file} if from_file else value
        page = bare({"texts": parts.part("map", value=value)}, size, kept=kept)
        if kept:
            page.update("texts", text_map_value())
            page.update("texts", value)
            page.page.evaluate("document.querySelector('#texts .mode').click(); scrollTo(0, 0)")
            page.page.wait_for_function(
                "n => { const data = document.querySelector('#texts .plot').data; "
                "return data?.length === 1 && data[0].x.length === n && !Math.max(...data[0].marker.line.width); }",
                arg=len(json.loads(value["texts"])["texts"]),
            )
            page.page.evaluate("parts.texts.triggered.length = 0")
        page.locator(".texts[data-state=ready]").wait_for()
        page.page.wait_for_function("document.querySelector('#texts .plot').layout?.annotations")
        return page

    return show


def ringed(page, count: int) -> None:
    """Waits until so many points stand out on the map."""
    page.page.wait_for_function(
        "n => document.querySelector('#texts .plot').data[0].marker.line.width.filter(width => width > 0).length === n",
        arg=count,
    )


def row(page, i: int):
    return page.locator("#texts .row").nth(i)


def text_of(page, i: int) -> str:
    return row(page, i).locator(".text").inner_text()


def test_a_map_without_texts_asks_for_them_and_offers_to_ask_again(parts, bare):
    page = bare({"texts": parts.part("map")})
    assert page.triggered("texts", "submit") == [{}]
    start = page.page.get_by_role("button", name="Show the sentences")
    expect(start).to_be_hidden()
    page.update("texts", text_map_value(failed=True))
    start.click()
    assert page.triggered("texts", "submit") == [{}, {}]


def test_a_map_from_a_file_shows_what_was_selected_and_the_query_only_where_it_was_listed(map_of, texts):
    value = texts.near("The dog ran to the park.")
    view = {"selected": [2, 4], "chart": "pca", "by": "length", "asked": True}
    page = map_of(WIDE, value, from_file=view)
    expect(page.locator("#texts .heading")).to_have_text("Nearest, 20")
    expect(page.locator("#texts .query")).to_have_value("The dog ran to the park.")
    expect(page.locator("#texts .count")).to_contain_text("2 selected")
    expect(page.locator("#texts .by")).to_have_value("length")
    page.update("texts", text_map_value())
    page.update("texts", value | {"view": view | {"asked": False}})
    expect(page.locator("#texts .heading")).to_have_text("Selected, 2")


def test_a_line_marks_its_point_and_a_point_its_line(map_of):
    page = map_of(WIDE)
    row(page, 3).click()
    page.page.wait_for_function("document.querySelector('#texts .plot').data[0].marker.size[3] === 14")
    caption = page.page.evaluate("document.querySelector('#texts .plot').layout.annotations.at(-1).text")
    assert text_of(page, 3).startswith(caption.rstrip("…"))
    page.page.evaluate(
        """pointNumber => document.querySelector('#texts .plot')
        .emit('plotly_click', {points: [{curveNumber: 0, pointNumber}]})""",
        COUNT - 1,
    )
    line = page.locator("#texts .row[aria-selected=true]").last
    expect(line.locator(".text")).to_have_text(load_sentences()[COUNT - 1])
    expect(line).to_be_in_viewport()
    assert page.page.evaluate("scrollY") == 0


@SIZES
def test_sentences_become_points_in_clusters_that_are_told_in_words(map_of, size):
    page = map_of(size)
    assert page.page.evaluate("document.querySelector('#texts .plot').data[0].x.length") == COUNT
    expect(page.locator("#texts .note")).to_contain_text(f"{COUNT} texts in")
    counts = [int(text.rsplit("·", 1)[1]) for text in page.locator("#texts .cluster").all_inner_texts()]
    assert sum(counts) == COUNT and len(counts) > 1
    assert page.overflow() <= 0


@SIZES
def test_the_list_is_left_the_map_right_the_search_below_and_on_a_phone_right_above_the_list(map_of, size):
    page = map_of(size)
    side, picture, search = (page.locator(f"#texts {part}").bounding_box() for part in (".side", ".picture", ".search"))
    if size == NARROW:
        assert picture["y"] < search["y"] < side["y"]
        return
    assert side["x"] + side["width"] <= picture["x"] and side["y"] == picture["y"]
    assert search["y"] >= side["y"] + side["height"]
    assert search["y"] + search["height"] <= WIDE["height"]


def test_words_are_found_and_the_nearest_texts_listed(map_of, texts):
    page = map_of()
    page.locator("#texts .query").fill("dog")
    expect(page.locator("#texts .heading")).to_contain_text("Found")
    found = page.locator("#texts .row .text").all_inner_texts()
    assert found == [text for text in load_sentences()[:COUNT] if "dog" in text.lower()]
    ringed(page, len(found))
    page.locator("#texts .query").fill("The dog ran to the park.")
    expect(page.locator("#texts .heading")).to_have_text("Found, 0")
    page.locator("#texts .near").click()
    expect(page.locator("#texts .heading")).to_have_text("Nearest")  # until they are known
    assert page.triggered("texts", "input") == [{"text": "The dog ran to the park."}]
    page.update("texts", texts.near("The dog ran to the park."))
    expect(page.locator("#texts .heading")).to_have_text("Nearest, 20")
    far = [float(text) for text in page.locator("#texts .row .far").all_inner_texts()]
    assert far == sorted(far)
    assert len(far) == 20
    ringed(page, 20)
    opacities = page.page.evaluate("document.querySelector('#texts .plot').data[0].marker.opacity")
    assert sorted(set(opacities))[0] == min(opacities) == pytest.approx(0.32) and opacities.count(0.92) == 20


def test_the_query_is_a_point_of_its_own_until_all_texts_are_shown(map_of, texts):
    page = map_of()
    near = texts.near("The dog ran to the park.")
    page.update("texts", near)
    page.page.wait_for_function("document.querySelector('#texts .plot').data[1]?.name === 'query'")
    x, y = page.page.evaluate("[...'xy'].map(axis => document.querySelector('#texts .plot').data[1][axis][0])")
    assert [x, y] == near["near"]["at"]["pca"]
    for late in (text_map_value(order=(0, 0)), None):  # made before the map; the end of what the server says
        page.update("texts", late)
    assert page.locator("#texts .texts").get_attribute("data-state") == "ready"
    page.page.get_by_role("button", name="Show all").click()
    page.page.wait_for_function("document.querySelector('#texts .plot').data.length === 1")
    expect(page.locator("#texts .heading")).to_have_text(f"All texts, {COUNT}")


LABELS = """() => {
    const box = node => (({x, y, width, height}) => ({x, y, width, height}))(node.getBoundingClientRect());
    const labels = [...document.querySelectorAll('#texts .plot .annotation')];
    return {plot: box(document.querySelector('#texts .plot .nsewdrag')),
            labels: labels.map(node => [node.textContent, box(node)])};
}"""


def covers(a, b) -> bool:
    return (
        min(a["x"] + a["width"], b["x"] + b["width"]) - max(a["x"], b["x"]) > 1
        and min(a["y"] + a["height"], b["y"] + b["height"]) - max(a["y"], b["y"]) > 1
    )


@SIZES
def test_no_label_of_the_map_covers_another_or_leaves_the_map(map_of, texts, size):
    page = map_of(size)
    page.update("texts", texts.near("The dog ran to the park."))
    page.page.wait_for_function(
        "document.querySelector('#texts .plot').layout.annotations.some(each => each.text.includes('The dog ran to'))"
    )
    row(page, 0).click()  # its caption is one more
    page.page.wait_for_function(
        "document.querySelector('#texts .plot').layout.annotations.filter(each => each.text.length > 5).length === 2"
    )
    found = page.page.evaluate(LABELS)
    labels, plot = found["labels"], found["plot"]
    assert len(labels) >= 4, "the query, the caption and distances"
    for i, (text, box) in enumerate(labels):
        assert [other for other, taken in labels[:i] if covers(box, taken)] == [], text
        assert plot["x"] - 1 <= box["x"] and box["x"] + box["width"] <= plot["x"] + plot["width"] + 1, text


def test_a_search_by_meaning_keeps_the_selection_and_the_server_hears_whether_the_nearest_are_listed(map_of, texts):
    page = map_of()
    heard = "asked => parts.texts.triggered.filter(([event]) => event === 'blur').at(-1)?.[1].asked === asked"
    for i in (2, 4):
        row(page, i).click()
    page.update("texts", texts.near("The dog ran to the park."))
    expect(page.locator("#texts .count")).to_have_text("2 selected")
    page.page.wait_for_function(heard, arg=True)
    assert page.triggered("texts", "blur")[-1]["selected"] == [2, 4]
    page.page.get_by_role("button", name="Show all").click()
    page.page.wait_for_function(heard, arg=False)


def test_what_is_wrong_with_a_search_is_said_beside_it(map_of, texts):
    page = map_of()
    page.update("texts", texts.near("word " * 100_000))
    expect(page.locator("#texts .note")).to_contain_text("expected at most")


def test_a_box_selects_and_a_selection_goes_to_edit(map_of):
    page = map_of()
    page.page.get_by_role("button", name="Box", exact=True).click()
    page.locator("#texts .stage").scroll_into_view_if_needed()
    page.page.wait_for_function("document.querySelector('#texts .plot')._fullLayout.dragmode === 'select'")
    box = page.locator("#texts .plot .nsewdrag").first.bounding_box()
    page.page.mouse.move(box["x"] + box["width"] * 0.3, box["y"] + box["height"] * 0.3)
    page.page.mouse.down()
    page.page.mouse.move(box["x"] + box["width"] * 0.7, box["y"] + box["height"] * 0.7, steps=5)
    page.page.mouse.up()
    expect(page.locator("#texts .count")).to_contain_text("selected")
    expect(page.locator("#texts .heading")).to_contain_text("Selected")
    count = int(page.locator("#texts .count").inner_text().split()[0])
    assert 0 < count < COUNT
    ringed(page, count)
    # the rest is faded once, by its own opacity: Plotly's selection would fade it again, to nothing
    trace = page.page.evaluate(
        "(({marker, selectedpoints}) => ({opacity: marker.opacity, selectedpoints: selectedpoints ?? null}))"
        "(document.querySelector('#texts .plot')._fullData[0])"
    )
    assert trace["opacity"].count(0.92) == count and set(trace["opacity"]) == {0.92, 0.32}
    assert trace["selectedpoints"] is None
    assert not page.page.evaluate("document.querySelector('#texts .plot').layout.selections?.length")
    text = text_of(page, 0)
    page.page.get_by_role("button", name="To Edit").click()
    assert page.triggered("texts", "edit") == [{"text": text}]


def test_a_selection_goes_to_interpolate_and_its_waypoints_lie_on_the_map(map_of, texts):
    page = map_of()
    chosen = [text_of(page, i) for i in (2, 4)]
    for i in (2, 4):
        row(page, i).click()
    page.page.get_by_role("button", name="To Interpolate").click()
    assert page.triggered("texts", "select") == [{"texts": chosen}]
    page.update("texts", texts.road([chosen[0], "The cat sat.", chosen[1]]))
    expect(page.locator("#texts .note")).to_contain_text("3 waypoints, numbered")
    page.page.wait_for_function("document.querySelector('#texts .plot').data[1]?.x.length === 3")


def test_a_cluster_is_selected_by_its_name(map_of):
    page = map_of()
    cluster = page.locator("#texts .cluster").first
    count = cluster.inner_text().rsplit("·", 1)[1].strip()
    cluster.press("Enter")
    expect(page.locator("#texts .count")).to_contain_text(f"{count} selected")
    ringed(page, int(count))


def test_keys_alone_select_two_ends_of_a_direction(map_of):
    page = map_of()
    wanted = {}
    for end, first in (("A", 0), ("B", 5)):
        row(page, first).focus()
        wanted[end] = [text_of(page, first), text_of(page, first + 1)]
        for _ in range(2):
            page.page.keyboard.press(" ")
            page.page.keyboard.press("ArrowDown")
        page.page.get_by_role("button", name=f"Use as {end}").press("Enter")
        page.page.get_by_role("button", name="Show all").press("Enter")
    told = page.triggered("texts", "like")
    assert told == [{"end": "first", "texts": wanted["A"]}, {"end": "second", "texts": wanted["B"]}]
    expect(page.locator("#texts .ends")).to_have_text("A: 2 texts, B: 2 texts. Their direction stands below.")


def test_a_umap_that_joins_the_map_is_offered_and_shown_when_it_is_asked_for(map_of, bundled, tmp_path):
    file = tmp_path / "mine.txt"
    file.write_text("\n".join(load_sentences()[:40]))
    texts = Texts(bundled, file)
    page = map_of(value=texts.value)
    page.update("texts", texts.with_umap())
    offer = page.page.get_by_role("button", name="Show the new UMAP")
    expect(offer).to_be_visible()
    expect(page.locator("#texts .chart")).to_have_value("pca")
    expect(page.locator("#texts .truth")).to_contain_text("PCA shows")
    before = page.page.evaluate("document.querySelector('#texts .plot').data[0].x")
    offer.click()
    expect(page.locator("#texts .truth")).to_contain_text("Distances on a UMAP are not those of the vectors")
    expect(offer).to_be_hidden()
    page.page.wait_for_function("x => document.querySelector('#texts .plot').data[0].x[0] !== x", arg=before[0])
    expect(page.locator("#texts .note")).to_contain_text("40 texts in")
    page.page.wait_for_function(
        "parts.texts.triggered.some(([event, saved]) => event === 'blur' && saved.chart !== 'pca')"
    )
    assert page.triggered("texts", "blur")[-1] == {
        "selected": [],
        "chart": "umap-20-0.2",
        "by": "cluster",
        "asked": False,
    }


def test_texts_of_ones_own_are_shown_as_text_and_can_be_coloured_by_their_sets(map_of, bundled, tmp_path):
    own = tmp_path / "own.jsonl"
    own.write_text("\n".join(f'{{"text": "<b>cat</b> number {i}", "set": "{"ab"[i % 2]}"}}' for i in range(12)))
    page = map_of(value=Texts(bundled, own).value)
    expect(page.locator("#texts .note")).to_contain_text("12 texts in")
    expect(row(page, 0).locator(".text")).to_have_text("<b>cat</b> number 0")
    page.locator("#texts .by").select_option("set")
    colours = page.page.evaluate(
        "[...document.querySelectorAll('#texts .row .dot')].map(dot => getComputedStyle(dot).backgroundColor)"
    )
    assert len(set(colours[::2])) == len(set(colours[1::2])) == 1 and colours[0] != colours[1]
