"""Forked children of a test."""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable


def wait_status(work: Callable[[], object]) -> int:
    """Do something in a forked child, and say how it ended, as `os.waitpid` does.

    The child ends in any case: one that came back from here would run the rest of the suite as well.
    """
    child = os.fork()
    if not child:
        code = 1
        try:
            work()
            code = 0
        except BaseException:  # noqa: BLE001 - it ends here, whatever it is
            traceback.print_exc()
        finally:
            os._exit(code)
    return os.waitpid(child, 0)[1]
