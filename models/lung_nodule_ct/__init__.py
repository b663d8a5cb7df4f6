"""Detection of lung nodules on chest CT, trained on synthetic phantoms."""
