"""HTML of a report into PDF, in a process of its own: WeasyPrint takes 230 to 440 MB and keeps them.

`python -m pipeline.report_pdf` reads {"html", "images": {name: base64}} from stdin, writes the PDF to stdout.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

from pipeline.report_errors import ReportNotRendered
from pipeline.report_fonts import require_cjk_font

_WALL_CLOCK_S = 120.0
_CPU_S = 100
_MEMORY_BYTES = 3 << 30
_MESSAGE_MAX = 400


def print_in_child(html: str, images: dict[str, bytes]) -> bytes:
    """The PDF of `html`, whose pictures `key-image:NAME` come from `images`; nothing else is fetched."""
    require_cjk_font()
    pixels = {name: base64.b64encode(png).decode() for name, png in images.items()}
    request = json.dumps({"html": html, "images": pixels}).encode()
    # PDF dates come from the report itself; without this the fonts carry the moment of printing.
    environment = {
        **os.environ,
        "SOURCE_DATE_EPOCH": "0",
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
    }
    try:
        finished = subprocess.run(
            [sys.executable, "-m", "pipeline.report_pdf"],
            input=request,
            capture_output=True,
            timeout=_WALL_CLOCK_S,
            cwd=Path(__file__).resolve().parent.parent,
            env=environment,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise ReportNotRendered(f"the report took longer than {_WALL_CLOCK_S:.0f} s to print") from error
    if finished.returncode != 0 or not finished.stdout.startswith(b"%PDF-"):
        # The last line names the error; the lines above could quote the report.
        last = finished.stderr.decode(errors="replace").strip().splitlines()[-1:] or [""]
        kind = last[0].split(":")[0][:_MESSAGE_MAX]
        raise ReportNotRendered(f"the report could not be printed (exit {finished.returncode}: {kind})")
    return finished.stdout


def print_html(html: str, images: dict[str, bytes]) -> bytes:
    """The PDF of `html`. Called in the child."""
    import weasyprint
    from weasyprint.urls import URLFetcher, URLFetcherResponse, URLFetchingError

    class KeyImageFetcher(URLFetcher):  # type: ignore[misc]  # WeasyPrint ships no types
        def fetch(self, url: str, headers: Any = None) -> Any:  # noqa: ARG002  its caller passes them
            scheme, _, name = url.partition(":")
            if scheme != "key-image" or name not in images:
                raise URLFetchingError("a report fetches nothing but its own key images")
            return URLFetcherResponse(url, images[name], {"Content-Type": "image/png"})

    document = weasyprint.HTML(string=html, url_fetcher=KeyImageFetcher())
    identifier = hashlib.sha256(html.encode()).hexdigest()[:32].encode()
    return bytes(document.write_pdf(pdf_identifier=identifier))


def _main() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES, _MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CPU, (_CPU_S, _CPU_S))
    request = json.load(sys.stdin.buffer)
    images = {name: base64.b64decode(text) for name, text in request["images"].items()}
    sys.stdout.buffer.write(print_html(request["html"], images))


if __name__ == "__main__":
    _main()
