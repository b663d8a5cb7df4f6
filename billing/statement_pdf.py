"""`python -m billing.statement_pdf`: an HTML document on stdin becomes a PDF on stdout.

A process of its own, under limits: WeasyPrint holds hundreds of MiB, and what it took goes back when it ends.
Nothing is fetched: the document carries all it needs.
"""

from __future__ import annotations

import resource
import sys

_MEMORY_BYTES_MAX = 4 * 1024**3
_CPU_S_MAX = 120


def main() -> int:
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES_MAX, _MEMORY_BYTES_MAX))
    resource.setrlimit(resource.RLIMIT_CPU, (_CPU_S_MAX, _CPU_S_MAX))
    from weasyprint import HTML, URLFetcher  # after the limits: its libraries are a good part of the memory

    html = sys.stdin.buffer.read().decode()
    document = HTML(string=html, url_fetcher=URLFetcher(allowed_protocols=()))
    sys.stdout.buffer.write(document.write_pdf(pdf_tags=True))
    return 0


if __name__ == "__main__":
    sys.exit(main())
