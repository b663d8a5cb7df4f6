"""A worker whose steps wait instead of computing: real queue, real books, and nothing that needs the processor.

python -m benchmarks.waiting_worker SECONDS
"""

from __future__ import annotations

import asyncio
import logging
import sys
import time
from dataclasses import replace

from pipeline import jobs, study_path
from pipeline.services import Outcome, Services
from pipeline.store import StudyRecord
from server import wiring
from server.metrics import Metrics
from server.settings import load_settings


def main() -> None:
    wait_s, settings, metrics = float(sys.argv[1]), load_settings(), Metrics()

    def wait(_services: Services, _study: StudyRecord) -> Outcome:
        time.sleep(wait_s)
        return Outcome()

    for status, step in study_path.STEP_AFTER.items():
        study_path.STEP_AFTER[status] = replace(step, work=wait)
    logging.basicConfig(level=logging.ERROR)
    scheduler = wiring.scheduler(settings, metrics)
    app = jobs.worker_app(
        settings.database_url, lambda queue: wiring.services(settings, metrics, queue, scheduler)
    )
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    asyncio.run(
        jobs.run_worker(
            app,
            concurrency=settings.worker_concurrency,
            drain_s=settings.drain_s,
            takeover_s=settings.takeover_s,
        )
    )


if __name__ == "__main__":
    main()
