"""What a model is: manifest, registry, pure operations, one folder per model. Arrays and millimetres."""
