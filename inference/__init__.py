"""Running models: endpoints and the checks around them."""
