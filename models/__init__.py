"""What a model is: manifest, registry, pure operations, one folder per model. Arrays and millimetres."""

import os
import sys

# Nothing leaves the machine that its settings do not name. Since 1.29 ONNX Runtime reports sessions, models and runs to
# its vendor unless this stands in the environment when it is imported; afterwards it is too late.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
# OpenVINO, and NNCF with it, writes an identifier below the home directory and reports through this package, as soon as
# it is imported; both do without it where it is not installed.
sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
