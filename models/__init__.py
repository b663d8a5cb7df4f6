"""What a model is: manifest, registry, pure operations, one folder per model. Arrays and millimetres."""

import os

# Since 1.29 ONNX Runtime reports sessions, models and runs to its vendor unless this stands in the environment when
# it is imported; afterwards it is too late. Nothing leaves the machine that its settings do not name.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
