"""What a download may take: limits, a watch that ends it there, and listeners to its progress."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator

from pydantic import BaseModel, ConfigDict, Field

from synthcore.base.errors import DownloadError
from synthcore.base.quantities import Count, Seconds

MEGABYTE = 1_000_000
Listener = Callable[[int], None]
_listeners: list[Listener] = []


class Limits(BaseModel):
    """What one source may take before it is given up."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    timeout: Seconds = Field(900.0, gt=0, le=86_400, description="How long one source may take: 900, or 15min.")
    max_megabytes: Count = Field(2000, ge=1, le=1_000_000, description="Size of one source on disk, in megabytes.")
    max_files: Count = Field(50_000, ge=1, le=10_000_000, description="Number of files in one repository.")


class Watch:
    """Follows one download, and ends it if it takes too long or grows too large."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._deadline = time.monotonic() + limits.timeout

    @property
    def seconds_left(self) -> float:
        """Seconds until the limit, never negative."""
        return max(0.0, self._deadline - time.monotonic())

    def follow(self, size: int) -> None:
        """Take note of the bytes that are on disk by now.

        Raises
        ------
        DownloadError
            They are too many, or the time is up.
        """
        self.require_size(size)
        if not self.seconds_left:
            raise DownloadError(f"was not done after {self.limits.timeout:g} s; --timeout gives it longer")
        for listener in tuple(_listeners):
            listener(size)

    def require_size(self, size: int) -> None:
        """Refuse a size before it is on disk.

        Raises
        ------
        DownloadError
            It is larger than allowed.
        """
        if size > self.limits.max_megabytes * MEGABYTE:
            raise DownloadError(
                f"takes more than {self.limits.max_megabytes} MB (at least {size:,} bytes); --max-megabytes allows more"
            )


@contextlib.contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """Tell `listener` how many bytes a download has, for the length of the block."""
    _listeners.append(listener)
    try:
        yield
    finally:
        _listeners.remove(listener)
