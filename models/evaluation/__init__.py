"""Statistics of how good a model is: pure functions on arrays, and the plots of the model cards."""
