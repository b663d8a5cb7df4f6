"""Bank transfer, the default rail: statements of our bank read and matched, orders to it written."""
