"""A way to go is chosen by keyboard, and brings what it needs."""

from playwright.sync_api import expect


def test_a_road_is_chosen_by_keyboard_and_marks_its_workbench(parts, bare):
    page = bare({"road": parts.part("choices", "interpolate")}, bench="interpolate")
    bench = page.locator("#interpolate")
    expect(bench).to_have_attribute("data-road", "through_flow")
    page.page.get_by_role("radio", name="Through the flow").focus()
    page.page.keyboard.press("ArrowDown")
    expect(page.page.get_by_role("radio", name="Decoder only")).to_be_checked()
    expect(bench).to_have_attribute("data-road", "decoder_only")
    expect(page.page.get_by_text("without asking the flow")).to_be_visible()
    assert page.value("road") == "decoder_only"


def test_what_is_chosen_in_the_first_moment_outlives_the_values_that_come_once_more(parts, bare):
    page = bare({"road": parts.part("choices", "interpolate")}, bench="interpolate")
    page.page.get_by_role("radio", name="Noise to noise").check()
    page.page.evaluate("() => { parts.road.props.value = 'decoder_only'; parts.road.update({value: 'through_flow'}); }")
    expect(page.page.get_by_role("radio", name="Noise to noise")).to_be_checked()
    assert page.value("road") == "noise_to_noise"
