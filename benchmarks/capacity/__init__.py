"""How many workers and GPUs a region needs: its arrivals simulated on the queues of the product, with measured times.

`python -m benchmarks capacity` simulates, holds the model against a real run, draws the plots and writes the tables of
docs/capacity.md. Nothing in it is measured by a clock: the same results of other benchmarks give the same page.
"""

from benchmarks.capacity.report import run

__all__ = ["run"]
