"""Usage × price: rated lines, their corrections, and whose part of them is whose."""
