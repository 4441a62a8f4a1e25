"""What a bare page is made of, over HTTP: a browser keeps plotly.js between two pages only if it came from a server."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from .page_parts import LIBRARIES, SCRIPTS, STYLES

STYLE_SHEET, COMPONENTS = "/bare.css", "/components.js"


class FileServer:
    """Serves `page`, which tests set, its styles, the JavaScript of the components, the libraries that they fetch, and
    else an empty page.

    The host counts as secure, and so a page has a clipboard.
    """

    def __init__(self) -> None:
        self.page = ""
        self.anew = False  # is the page to be given once to a browser that has forgotten everything?
        libraries = {file.name: file.read_bytes() for file in LIBRARIES}

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(handler) -> None:
                path, kept = handler.path.split("?")[0], "no-store"
                name = path.rsplit("/", 1)[-1]
                if path == "/bare":
                    forget = "<script>localStorage.clear()</script>" if self.anew else ""
                    self.anew = False
                    body, kind = self.page.replace("<head>", f"<head>{forget}", 1).encode(), "text/html"
                elif path == STYLE_SHEET:
                    body, kind, kept = STYLES.encode(), "text/css", "max-age=3600"
                elif path == COMPONENTS:
                    body, kind, kept = SCRIPTS.encode(), "text/javascript", "max-age=3600"
                elif name in libraries:
                    body, kind, kept = libraries[name], "text/javascript", "max-age=3600"
                else:
                    body, kind = b"", "text/html"
                handler.send_response(200)
                for name, value in (("Content-Type", kind), ("Content-Length", len(body)), ("Cache-Control", kept)):
                    handler.send_header(name, str(value))
                handler.end_headers()
                handler.wfile.write(body)

            def log_message(handler, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        address = f"http://127.0.0.1:{self._server.server_port}"
        self.address, self.nothing = f"{address}/bare", f"{address}/nothing"
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
