"""What goes wrong on a page, as its visitor meets it."""

from __future__ import annotations

from urllib.parse import urlsplit

from playwright.sync_api import ConsoleMessage, Error, Page, Request

BEGINS, LEFT = "heard: a document begins", "heard: the document is left"
# The page itself says where it stands: only so does this come in the order in which its errors come.
MARKS = f"""if (window === top) {{
  console.debug({BEGINS!r});
  for (const kind of ["beforeunload", "pagehide"]) addEventListener(kind, () => console.debug({LEFT!r}));
}}"""


class Heard:
    """Listens to a page, from before it has opened anything.

    Errors of the page, errors on its console and requests to another host are wrong. When a document is left (a reload,
    another address, a tab that closes), gradio's client breaks off its own streams and reports them as lost, while the
    document still runs: such errors are held back, and dropped as soon as the next document begins or the page is
    closed. If neither happens, nobody has left, and they are wrong like any other.
    """

    def __init__(self, page: Page) -> None:
        self.page = page
        self.begin()
        page.add_init_script(MARKS)
        page.on("console", self._console)
        page.on("pageerror", self._error)
        page.on("request", self._request)

    def begin(self) -> None:
        """Forgets what it has heard."""
        self.leaving = False
        self.living: list[str] = []
        self.parting: list[str] = []

    def wrong(self) -> list[str]:
        """What was wrong up to this moment. To be asked before the page is closed from outside."""
        if self.page.is_closed():
            return self.living
        self.page.evaluate("0")  # what the page said before it answers has arrived
        return self.living + self.parting

    def _add(self, what: str) -> None:
        (self.parting if self.leaving else self.living).append(what)

    def _console(self, message: ConsoleMessage) -> None:
        if message.text == LEFT:
            self.leaving = True
        elif message.text == BEGINS:
            self.leaving = False
            self.parting.clear()
        elif _is_wrong(message):
            self._add(message.text)

    def _error(self, error: Error) -> None:
        self._add(str(error))

    def _request(self, request: Request) -> None:
        if _foreign(request.url):
            self.living.append(f"asked {request.url}")


def _is_wrong(message: ConsoleMessage) -> bool:
    """Chromium reports a refusal by the full queue (503), which is an answer like any other, as an error too."""
    refused = "503" in message.text and "/queue/join" in message.location["url"]
    return message.type == "error" and not refused


def _foreign(url: str) -> bool:
    return urlsplit(url).scheme not in ("data", "blob") and urlsplit(url).hostname != "127.0.0.1"
