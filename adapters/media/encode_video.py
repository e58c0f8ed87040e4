"""Encoding a video in a thread of its own, while further frames are generated."""

import io
from contextlib import ExitStack
from queue import Empty, Full, Queue
from threading import Event, Thread
from typing import TYPE_CHECKING, Any

from adapters.media.mp4_writer import Mp4Writer

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

AHEAD = 2
"""Maximum number of batches in the queue; `VideoEncoder.add` blocks while it is full."""
WAIT_S = 0.1


class VideoEncoder:
    """Encodes batches of frames. FFmpeg releases the GIL while it works."""

    def __init__(self, fps: int, frames: int) -> None:
        """Starts the thread.

        Args:
            fps: Frames per second.
            frames: Number of frames of the whole video.
        """
        self._first: Any = None
        self._fps, self._frames = fps, frames
        self._batches: Queue[NDArray[np.uint8] | None] = Queue(AHEAD)
        self._out = io.BytesIO()
        self._error: BaseException | None = None
        self._aborted = Event()
        self._thread = Thread(target=self._work, name="video encoder", daemon=True)
        self._thread.start()

    def add(self, frames: "NDArray[np.uint8]") -> None:
        """Queues frames: uint8 [frames, height, width, 3], RGB, both sides even.

        Raises:
            ValueError: Their size differs from the earlier frames'.
        """
        if self._first is None and len(frames):
            self._first = frames[0].copy()
        self._put(frames)

    @property
    def started(self) -> bool:
        """Whether any frame was added."""
        return self._first is not None

    def close(self) -> "tuple[bytes, NDArray[np.uint8]]":
        """The video, and its first frame: uint8 [height, width, 3], RGB.

        Raises:
            ValueError: As `add`; no frame was added, or a different number than announced.
        """
        self._put(None)
        self._thread.join()
        self._raise()
        return self._out.getvalue(), self._first

    def abort(self) -> None:
        """Stops encoding and discards the video; no effect after `close`."""
        self._aborted.set()
        self._thread.join()

    def _put(self, batch: "NDArray[np.uint8] | None") -> None:
        while True:
            self._raise()
            try:
                self._batches.put(batch, timeout=WAIT_S)
            except Full:
                continue
            return

    def _raise(self) -> None:
        if self._error is not None:
            raise self._error

    def _work(self) -> None:
        with ExitStack() as stack:
            self._error = self._encode(stack)

    def _encode(self, stack: ExitStack) -> BaseException | None:
        """Encodes all batches; returns the error, if any, for the next caller of `add` or `close`."""
        try:
            writer = Mp4Writer(self._out, self._fps, self._frames)
            stack.callback(writer.abort)
            while (batch := self._next()) is not None:
                for frame in batch:
                    if self._aborted.is_set():
                        return None
                    writer.add(frame)
            if not self._aborted.is_set() and (made := writer.close()[2]) != self._frames:
                raise ValueError(f"the video has {made} frames instead of {self._frames}")
        except BaseException as error:
            return error
        return None

    def _next(self) -> "NDArray[np.uint8] | None":
        while not self._aborted.is_set():
            try:
                return self._batches.get(timeout=WAIT_S)
            except Empty:
                continue
        return None
