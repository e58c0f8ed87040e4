"""Progress of loading, as lines of a log."""

import logging

from adapters.base import LoadProgress, Report

LOG_STEP = 0.1
"""Of a stage of loading: progress is logged so often, and at its ends."""


def logged(name: str, log: logging.Logger) -> Report:
    """A report that logs the loading of a model: every new stage, and each further tenth of it."""
    told = LoadProgress("", None)

    def report(progress: LoadProgress) -> None:
        nonlocal told
        fraction, before = progress.fraction, told.fraction
        if progress.stage != told.stage or (fraction or 0) >= (before or 0) + LOG_STEP or (fraction == 1 != before):
            told = progress
            share = "" if fraction is None else f" {fraction:.0%}"
            log.info("%s: %s%s", name, progress.stage, share)

    return report
