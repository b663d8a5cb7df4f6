"""The child process in which the graph of a model that somebody brought is tried."""

from __future__ import annotations

import sys

from dicom_gateway.child_main import main

FUNCTIONS = {"try_graph": "inference.try_graph"}

if __name__ == "__main__":
    sys.exit(main(FUNCTIONS))
