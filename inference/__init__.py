"""Running models: endpoints and the checks around them."""

import models  # noqa: F401  # first of all: it silences the engines' telemetry
