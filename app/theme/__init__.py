"""How the page looks: gradio's theme for its own parts, `page.css` for the layout and the colours of ours. And what its
head holds: the fonts, `frame.css` for what is around the page, `composition.js`, which keeps the keys of an input
method from every key handler of the page, `number_fields.js`, which mends numbers that are left empty or
broken, and `open_tab.js`, by which the address names the tab.

The font comes with gradio and is served from where the page is: Source Sans Pro, a humanist face, in the two weights
that gradio 6.31 ships whole (its files of Lora and Source Sans 3, for instance, have no Latin letters).
"""

from __future__ import annotations

import base64
from pathlib import Path

import gradio as gr
from gradio.themes.utils import colors, fonts, sizes

HERE = Path(__file__).parent
CSS = HERE / "page.css"
CSS_OPERATIONS = HERE / "operations.css"
FRAME = (HERE / "frame.css").read_text(encoding="utf-8")  # for the head
FAVICON = HERE / "favicon.svg"
FONTS = "".join(  # asked for early, so that the words do not change their shape under the reader
    f'<link rel="preload" as="font" type="font/woff2" href="static/fonts/{file}.woff2" crossorigin>'
    for file in ("SourceSansPro/SourceSansPro-Regular", "SourceSansPro/SourceSansPro-Bold")
)
GRADIO_FONTS = Path(gr.__file__).parent / "templates" / "frontend" / "static" / "fonts"
FILES = ("composition", "number_fields", "open_tab")
SCRIPTS = "".join((HERE / f"{name}.js").read_text(encoding="utf-8") for name in FILES)
# to come before gradio's own scripts and its configuration
EARLY_SCRIPTS = "".join((HERE / f"{name}.js").read_text(encoding="utf-8") for name in ("loader_clock", "plain_config"))
HEAD = f"{FONTS}<script>{SCRIPTS}</script>"

INK = colors.Color(
    name="ink",
    c50="#f6f6f4",
    c100="#ecebe8",
    c200="#dddcd7",
    c300="#c4c3bd",
    c400="#9c9ca1",
    c500="#74757d",
    c600="#5b5c65",
    c700="#3a3b43",
    c800="#26272d",
    c900="#1b1c21",
    c950="#131418",
)
BLUE = colors.Color(
    name="blue",
    c50="#eef2fb",
    c100="#dde6f7",
    c200="#c0d0f0",
    c300="#a6bff2",
    c400="#7e9fe4",
    c500="#4a70c4",
    c600="#2b529f",
    c700="#234584",
    c800="#1d386b",
    c900="#182d54",
    c950="#101e39",
)


def embedded_fonts() -> str:
    """The page's font as CSS that holds the files themselves, for a page without a server."""
    faces = []
    for weight, cut in ((400, "Regular"), (700, "Bold")):
        data = base64.b64encode((GRADIO_FONTS / "SourceSansPro" / f"SourceSansPro-{cut}.woff2").read_bytes()).decode()
        source = f'url(data:font/woff2;base64,{data}) format("woff2")'
        faces.append(f'@font-face {{ font-family: "Source Sans Pro"; font-weight: {weight}; src: {source}; }}')
    return "\n".join(faces)


def make_theme() -> gr.themes.Base:
    """The theme: one accent colour, quiet controls, one typeface."""
    theme = gr.themes.Base(
        primary_hue=BLUE,
        secondary_hue=BLUE,
        neutral_hue=INK,
        radius_size=sizes.radius_sm,
        font=(fonts.LocalFont("Source Sans Pro", weights=(400, 700)), "ui-sans-serif", "system-ui", "sans-serif"),
        font_mono=(fonts.LocalFont("IBM Plex Mono", weights=(400, 700)), "ui-monospace", "monospace"),
    )
    return theme.set(
        body_background_fill="*neutral_50",
        body_background_fill_dark="*neutral_950",
        body_text_color="#1b1c21",
        body_text_color_dark="#ecebe6",
        body_text_color_subdued="*neutral_600",
        body_text_color_subdued_dark="*neutral_400",
        color_accent="*primary_600",
        color_accent_soft="*primary_50",
        color_accent_soft_dark="*primary_900",
        link_text_color="*primary_600",
        link_text_color_dark="*primary_300",
        link_text_color_hover="*primary_700",
        link_text_color_hover_dark="*primary_200",
        link_text_color_visited="*primary_600",
        link_text_color_visited_dark="*primary_300",
        background_fill_primary="#ffffff",
        background_fill_primary_dark="*neutral_900",
        border_color_primary="*neutral_200",
        border_color_primary_dark="#33353d",
        block_background_fill="transparent",
        block_background_fill_dark="transparent",
        block_border_width="0px",
        block_border_width_dark="0px",
        block_shadow="none",
        block_padding="0px",
        block_label_background_fill="transparent",
        block_label_background_fill_dark="transparent",
        block_title_text_color="*body_text_color",
        block_title_text_color_dark="*body_text_color",
        block_title_text_weight="600",
        block_title_text_size="0.9375rem",
        block_info_text_size="0.875rem",
        block_info_text_color="*body_text_color_subdued",
        block_info_text_color_dark="*body_text_color_subdued",
        panel_background_fill="transparent",
        panel_background_fill_dark="transparent",
        form_gap_width="0px",
        layout_gap="20px",
        input_background_fill="#ffffff",
        input_background_fill_dark="*neutral_900",
        input_border_color="*neutral_300",
        input_border_color_dark="#44464f",
        input_border_color_focus="*primary_600",
        input_border_color_focus_dark="*primary_300",
        input_border_width="1px",
        input_shadow="none",
        input_shadow_focus="0 0 0 1px *primary_600",
        input_shadow_focus_dark="0 0 0 1px *primary_300",
        slider_color="*primary_600",
        slider_color_dark="*primary_300",
        checkbox_background_color_selected="*primary_600",
        checkbox_background_color_selected_dark="*primary_400",
        checkbox_border_color_selected="*primary_600",
        checkbox_border_color_selected_dark="*primary_400",
        button_transition="none",
        button_border_width="1px",
        button_primary_background_fill="*primary_600",
        button_primary_background_fill_dark="*primary_300",
        button_primary_background_fill_hover="*primary_700",
        button_primary_background_fill_hover_dark="*primary_200",
        button_primary_border_color="*primary_600",
        button_primary_border_color_dark="*primary_300",
        button_primary_text_color="#ffffff",
        button_primary_text_color_dark="*neutral_950",
        button_secondary_background_fill="transparent",
        button_secondary_background_fill_dark="transparent",
        button_secondary_background_fill_hover="*neutral_100",
        button_secondary_background_fill_hover_dark="*neutral_800",
        button_secondary_border_color="*neutral_300",
        button_secondary_border_color_dark="#44464f",
        button_secondary_text_color="*body_text_color",
        button_secondary_text_color_dark="*body_text_color",
    )
