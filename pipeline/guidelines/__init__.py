"""Guidelines for lung nodules as tables with their source. A tenant chooses one; two are never mixed."""
