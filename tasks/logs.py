"""What synthcore logs, shown in Prefect's UI beside Prefect's own logs."""

from __future__ import annotations

import logging

from prefect.context import FlowRunContext, TaskRunContext
from prefect.logging.handlers import APILogHandler


def show_logs() -> None:
    """Send what synthcore logs in this process to the run it belongs to. Calling it again does nothing."""
    logger = logging.getLogger("synthcore")
    if any(isinstance(handler, APILogHandler) for handler in logger.handlers):
        return
    handler = APILogHandler()
    handler.addFilter(_is_of_a_run)
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)


def _is_of_a_run(_: logging.LogRecord) -> bool:
    """Whether Prefect can tell which run a line belongs to: without one, it warns."""
    return FlowRunContext.get() is not None or TaskRunContext.get() is not None
