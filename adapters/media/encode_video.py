"""A film that is encoded in a thread of its own, while more of it comes into being."""

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
"""Pieces that may wait for the encoder; whoever brings more waits for it."""
WAIT_S = 0.1


class FilmEncoder:
    """Takes a film piece by piece. FFmpeg lets go of the interpreter while it works."""

    def __init__(self, fps: int, frames: int) -> None:
        """Starts the thread.

        Args:
            fps: Frames a second.
            frames: How many there will be.
        """
        self._first: Any = None
        self._fps, self._frames = fps, frames
        self._pieces: Queue[NDArray[np.uint8] | None] = Queue(AHEAD)
        self._out = io.BytesIO()
        self._error: BaseException | None = None
        self._dropped = Event()
        self._thread = Thread(target=self._work, name="film encoder", daemon=True)
        self._thread.start()

    def add(self, frames: "NDArray[np.uint8]") -> None:
        """The next frames: uint8 [frames, height, width, 3], RGB, both sides even.

        Raises:
            ValueError: They have another size than those before.
        """
        if self._first is None and len(frames):
            self._first = frames[0].copy()
        self._put(frames)

    @property
    def begun(self) -> bool:
        """Whether it has a frame."""
        return self._first is not None

    def close(self) -> "tuple[bytes, NDArray[np.uint8]]":
        """The film, and its first frame: uint8 [height, width, 3], RGB.

        Raises:
            ValueError: As `add`; there was no frame, or another number of them than was said.
        """
        self._put(None)
        self._thread.join()
        self._raise()
        return self._out.getvalue(), self._first

    def drop(self) -> None:
        """Ends a film that nobody waits for; without effect on one that is closed."""
        self._dropped.set()
        self._thread.join()

    def _put(self, piece: "NDArray[np.uint8] | None") -> None:
        while True:
            self._raise()
            try:
                self._pieces.put(piece, timeout=WAIT_S)
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
        """Encodes all pieces; what went wrong is told to whoever brings the next one."""
        try:
            writer = Mp4Writer(self._out, self._fps, self._frames)
            stack.callback(writer.abort)
            while (piece := self._next()) is not None:
                for frame in piece:
                    if self._dropped.is_set():
                        return None
                    writer.add(frame)
            if not self._dropped.is_set() and (made := writer.close()[2]) != self._frames:
                raise ValueError(f"the film has {made} frames of {self._frames}")
        except BaseException as error:
            return error
        return None

    def _next(self) -> "NDArray[np.uint8] | None":
        while not self._dropped.is_set():
            try:
                return self._pieces.get(timeout=WAIT_S)
            except Empty:
                continue
        return None
