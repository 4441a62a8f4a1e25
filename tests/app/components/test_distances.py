"""Distances of waypoints, as pictures, as numbers and as files."""

from playwright.sync_api import expect


def test_distances_are_two_pictures_a_table_and_files(parts, bare, walked, tmp_path):
    value = walked.distances
    page = bare({"distances": parts.part("distances", value=value)}, bench="interpolate")
    expect(page.locator(".distances svg[role=img]")).to_have_count(2)
    note = page.locator(".distances svg[role=img]").first.get_attribute("aria-label")
    assert f"to text 1 from {value['latents'][0][0]:.0f} at the first waypoint" in note
    page.page.get_by_text("The same as numbers").click()
    rows = page.locator(".distances tbody tr")
    expect(rows).to_have_count(9)
    for row, latents, tokens in zip(rows.all(), value["latents"], value["tokens"], strict=True):
        numbers = row.locator("td").all_inner_texts()
        assert numbers == [f"{x:.2f}" for x in latents] + [str(x) for x in tokens]
    svg = page.save(page.locator(".save[data-format=svg]"), tmp_path).read_bytes()
    assert svg.count(b"<polyline") == 4
    assert page.save(page.locator(".save[data-format=png]"), tmp_path).read_bytes().startswith(b"\x89PNG")


def test_what_has_not_been_measured_shows_nothing(parts, bare):
    page = bare({"distances": parts.part("distances")}, bench="interpolate")
    expect(page.locator(".distances")).to_be_hidden()
