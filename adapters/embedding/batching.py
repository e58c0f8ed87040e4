"""Which token sequences are computed together: of all waiting requests, those of similar length.

Every sequence of a batch costs as much as the longest, so sequences of similar length share one. Requests take turns
in choosing the batch, so a request with a thousand texts does not make others wait for all of them. There is no timer:
a batch takes what has arrived while the previous one was computed.
"""

import asyncio
from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

from adapters.embedding.tokens import Ids
from adapters.engines.threads import ModelThread
from adapters.errors import Interrupted, ModelBusy

MAX_WAITING_TOKENS = 1_000_000
"""Of all requests together; a request beyond it is refused with `ModelBusy`."""
UNLOADED = "The model was unloaded. Send the request again: it loads the model again."
MIN_TOKENS = 16
"""A sequence counts at least this much, because each has a cost of its own in the queue."""


@dataclass(slots=True, eq=False)
class _Job:
    """One request's sequences, and their vectors as they are computed."""

    vectors: list[bytes]
    done: asyncio.Future[None]
    waiting: dict[int, "_Sequence"] = field(default_factory=dict[int, "_Sequence"])
    """By index; without those that are being or have been computed."""
    left: int = 0
    """Vectors that are not computed yet."""


@dataclass(slots=True, eq=False)
class _Sequence:
    """One input."""

    ids: Ids
    job: _Job
    index: int

    @property
    def cost(self) -> int:
        """What it counts in the queue, in tokens."""
        return max(len(self.ids), MIN_TOKENS)


def _length(sequence: _Sequence) -> int:
    return len(sequence.ids)


class Batcher:
    """Collects the sequences of all requests to one model."""

    def __init__(self, compute: Callable[[list[Ids]], list[bytes]], *, max_batch_tokens: int) -> None:
        """Takes over the model.

        Args:
            compute: Returns the vectors of some sequences; blocks, and is called in the model's thread only.
            max_batch_tokens: Of one batch, padding included. A longer sequence is a batch of its own.
        """
        self._compute = compute
        self._max_batch_tokens = max_batch_tokens
        self._thread = ModelThread[None]("embedding")
        self._waiting: list[_Sequence] = []
        """Shortest first."""
        self._waiting_tokens = 0
        self._turns: deque[_Job] = deque()
        """Jobs that have sequences waiting, the next to choose first."""
        self._working: asyncio.Task[None] | None = None
        self._closed = False

    async def embed(self, sequences: Sequence[Ids]) -> list[bytes]:
        """The vectors of all sequences, in order. Cancelling it removes from the queue what is not being computed.

        Raises:
            ModelBusy: The queue is full.
            Interrupted: The model was unloaded.
        """
        if self._closed:
            raise Interrupted(UNLOADED)
        job = _Job([b""] * len(sequences), asyncio.get_running_loop().create_future(), left=len(sequences))
        waiting = {index: _Sequence(ids, job, index) for index, ids in enumerate(sequences)}
        tokens = sum(one.cost for one in waiting.values())
        if self._waiting and self._waiting_tokens + tokens > MAX_WAITING_TOKENS:
            raise ModelBusy("This model's queue is full. Send the request again a little later.")
        job.waiting = waiting
        self._waiting.extend(waiting.values())
        self._waiting.sort(key=_length)
        self._waiting_tokens += tokens
        self._turns.append(job)
        if self._working is None:
            self._working = asyncio.create_task(self._work())
        try:
            await job.done
        finally:
            self._forget(job)
        return job.vectors

    async def close(self) -> None:
        """Ends all requests in `Interrupted`, and waits for the batch that is being computed."""
        self._closed = True
        for job in list(self._turns):
            self._fail(job, Interrupted(UNLOADED))
        if self._working is not None:
            await self._working
        self._thread.close()

    async def _work(self) -> None:
        """Computes until the queue is empty."""
        while self._turns:
            batch = self._next()
            try:
                vectors = await self._thread.run(partial(self._compute, [one.ids for one in batch]))
            except Exception as error:
                for job in {one.job for one in batch}:
                    self._fail(job, error)
                continue
            for one, vector in zip(batch, vectors, strict=True):
                one.job.vectors[one.index] = vector
                one.job.left -= 1
                if not one.job.left and not one.job.done.done():
                    one.job.done.set_result(None)
        self._working = None

    def _next(self) -> list[_Sequence]:
        """Removes the next batch from the queue: a sequence of the next job, and those nearest in length."""
        job = self._turns[0]
        self._turns.rotate(-1)
        first = next(iter(job.waiting.values()))
        at = self._position(first)
        low, high = around(list(map(_length, self._waiting)), at, self._max_batch_tokens)
        batch = self._waiting[low:high]
        del self._waiting[low:high]
        for one in batch:
            self._waiting_tokens -= one.cost
            del one.job.waiting[one.index]
            if not one.job.waiting:
                self._turns.remove(one.job)
        return batch

    def _position(self, sequence: _Sequence) -> int:
        at = bisect_left(self._waiting, len(sequence.ids), key=_length)
        while self._waiting[at] is not sequence:
            at += 1
        return at

    def _fail(self, job: _Job, error: Exception) -> None:
        self._forget(job)
        if not job.done.done():
            job.done.set_exception(error)

    def _forget(self, job: _Job) -> None:
        """Removes a job's sequences from the queue."""
        if not job.waiting:
            return
        self._turns.remove(job)
        self._waiting = [one for one in self._waiting if one.job is not job]
        self._waiting_tokens = sum(one.cost for one in self._waiting)
        job.waiting.clear()


def around(lengths: Sequence[int], at: int, budget: int) -> tuple[int, int]:
    """The neighbours of a sequence that are computed with it.

    Args:
        lengths: In tokens, ascending.
        at: Index of the sequence that must be in the batch.
        budget: Tokens of the batch, every sequence counted as long as the longest.

    Returns:
        [low, high): grown towards the neighbour that is nearer in length until the budget is used up.
    """
    low, high = at, at + 1
    while True:
        shorter = lengths[at] - lengths[low - 1] if low > 0 else None
        longer = lengths[high] - lengths[at] if high < len(lengths) else None
        down = shorter is not None and (longer is None or shorter <= longer)
        if not down and longer is None:
            return low, high
        longest = lengths[high - 1] if down else lengths[high]
        if (high - low + 1) * longest > budget:
            return low, high
        low, high = (low - 1, high) if down else (low, high + 1)
