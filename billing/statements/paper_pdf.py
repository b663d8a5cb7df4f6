"""`python -m billing.statements.paper_pdf`: a document on stdin becomes a PDF on stdout.

In: JSON with `html` and `attachments`, a list of `name` and `content` (base64). A process of its own, under limits:
WeasyPrint holds hundreds of MiB, and what it took goes back when it ends. Nothing is fetched: the document carries
all it needs.
"""

from __future__ import annotations

import base64
import io
import json
import resource
import sys

_MEMORY_BYTES_MAX = 4 * 1024**3
_CPU_S_MAX = 120


def main() -> int:
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES_MAX, _MEMORY_BYTES_MAX))
    resource.setrlimit(resource.RLIMIT_CPU, (_CPU_S_MAX, _CPU_S_MAX))
    from weasyprint import HTML, Attachment, URLFetcher  # after the limits: a good part of the memory

    given = json.load(sys.stdin.buffer)
    attachments = [
        Attachment(file_obj=io.BytesIO(base64.b64decode(one["content"])), name=one["name"])
        for one in given["attachments"]
    ]
    document = HTML(string=given["html"], url_fetcher=URLFetcher(allowed_protocols=()))
    sys.stdout.buffer.write(document.write_pdf(pdf_tags=True, attachments=attachments))
    return 0


if __name__ == "__main__":
    sys.exit(main())
