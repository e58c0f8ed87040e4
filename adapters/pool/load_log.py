"""Progress of loading, as lines of a log."""

import logging

from adapters.base import LoadProgress, Report

LOG_STEP = 0.1
"""Fraction of a stage between two log lines about it."""


def log_progress(name: str, log: logging.Logger) -> Report:
    """A report that logs the loading of a model: every new stage, and each further tenth of it."""
    last = LoadProgress("", None)

    def report(progress: LoadProgress) -> None:
        nonlocal last
        fraction, before = progress.fraction, last.fraction
        if progress.stage != last.stage or (fraction or 0) >= (before or 0) + LOG_STEP or (fraction == 1 != before):
            last = progress
            percent = "" if fraction is None else f" {fraction:.0%}"
            log.info("%s: %s%s", name, progress.stage, percent)

    return report
