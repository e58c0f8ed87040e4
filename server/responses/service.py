"""Responses: worked on in the request or in the background, followed, cancelled, deleted.

A stored response is a row before its first event leaves, and its last event leaves after its end is a row.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing, suppress
from typing import Any

import msgspec

from adapters.base import TextAdapter, TextDone, TextEvent, TextRequest
from adapters.errors import AdapterError, GenerationFailed, Interrupted
from adapters.pool.pool import Pool
from compat.errors import RequestError, wire_error
from compat.responses import request as responses
from compat.responses.reply import UNFINISHED, Response
from compat.responses.stream import ResponseWriter
from server.http.errors import as_wire
from server.http.metrics import Metrics
from server.http.text_streams import counted
from server.media.references import References
from server.responses.items import ResponseItems
from server.responses.persistence import STOPPED, Keeper, not_found
from server.responses.prompt import compose
from server.responses.runs import Draft, Run, check_start
from server.responses.store import ResponseStore
from server.responses.truncation import fitting

log = logging.getLogger(__name__)

TICK_S = 3.0
BROKE_OFF = "The model broke off."


class Responses:
    """All responses of this server."""

    def __init__(
        self,
        pool: Pool,
        store: ResponseStore,
        items: ResponseItems,
        references: References,
        metrics: Metrics,
        *,
        max_background: int,
    ) -> None:
        """No work yet.

        Args:
            pool: Where the models are.
            store: Where responses are kept.
            items: Where conversations are read from.
            references: Where images are that they refer to.
            metrics: Where tokens are counted.
            max_background: Background responses at once; one more is refused.
        """
        self._items = items
        self._references = references
        self._pool = pool
        self._store = store
        self._keeper = Keeper(store)
        self._metrics = metrics
        self._max_background = max_background
        self._runs: dict[str, Run] = {}

    async def draft(self, owner: str, call: responses.ResponseCall) -> Draft:
        """A response before any work, with its whole conversation.

        Raises:
            RequestError: As `compose`.
            ModelNotFound, WrongModelKind: As `Pool.find`.
        """
        model = self._pool.find(call.model, TextAdapter).name
        prompt = await compose(self._items, self._references, owner, call)
        response = responses.begin(call, model)
        streams = call.stream or call.background
        writer = ResponseWriter(response, streams=streams, obfuscate=call.obfuscate)
        return Draft(owner, call, prompt.request, response, prompt.given, prompt.chain, writer)

    async def work(self, draft: Draft) -> AsyncGenerator[bytes]:
        """Works on a response for as long as this is iterated: the frames of its stream, where it streams.

        A failure before the first event is raised; later ones are the stream's last event, or raised where there is
        no stream. The response itself is `draft.response`.
        """
        writer = draft.writer
        async with aclosing(self._events(draft.call, draft.response.model, draft.request)) as events:
            first = await anext(events, None)
            if first is None:
                raise GenerationFailed(BROKE_OFF)
            if draft.call.store:
                await self._keeper.begin(draft)
            last: Sequence[bytes] = ()
            try:
                for frame in (*writer.created(), *writer.began(), *writer.add(first)):
                    yield frame
                async for event in events:
                    last = writer.add(event)
                    if writer.finished:
                        break
                    for frame in last:
                        yield frame
                if not writer.finished:
                    raise GenerationFailed(BROKE_OFF)
            except Exception as error:
                last = writer.fail(as_wire(error))
                if not draft.call.stream:
                    raise
            finally:
                if not writer.finished:  # closed or cancelled: the client went away
                    writer.cancel()
                keeping = self._keeper.keep(draft)
            await asyncio.shield(keeping)
            for frame in last:
                yield frame

    async def launch(self, draft: Draft) -> Run:
        """Begins to work on a response in the background; it is stored before the work begins.

        Raises:
            RequestError: 503, when too many are worked on already; 429 or 503, when it cannot be stored.
        """
        if len(self._runs) >= self._max_background:
            raise RequestError(
                "Too many background responses are running.",
                code="queue_full",
                status=503,
                headers={"Retry-After": "5"},
            )
        run = self._runs[draft.response.id] = Run(draft)
        try:
            await self._keeper.begin(draft)
        except BaseException:
            del self._runs[draft.response.id]
            raise
        run.add(draft.writer.created())
        run.task = asyncio.create_task(self._run(run))
        return run

    async def get(self, owner: str, response_id: str) -> Response | dict[str, Any]:
        """A stored response, as it is now.

        Raises:
            RequestError: 404, for another's response too; 503.
        """
        if (run := self._own_run(owner, response_id)) is not None and not run.draft.writer.finished:
            return run.draft.response
        if run is not None and run.task is not None:  # its end is being stored: until then nobody can build on it
            await asyncio.wait([run.task])
        return (await self._keeper.stored(owner, response_id)).body

    async def delete(self, owner: str, response_id: str) -> None:
        """Removes a response; a running one is stopped first. Raises as `get`."""
        if (run := self._own_run(owner, response_id)) is not None:
            await run.stop("cancelled")
        if not responses.is_id(response_id) or not await self._store.delete(owner, response_id):
            raise not_found()

    async def cancel(self, owner: str, response_id: str) -> Response | dict[str, Any]:
        """Stops a background response; one that has ended already stays as it is.

        Raises:
            RequestError: As `get`; 400, it does not run in the background.
        """
        if (run := self._own_run(owner, response_id)) is not None:
            await run.stop("cancelled")
            return run.draft.response
        found = await self._keeper.stored(owner, response_id)
        if not found.background:
            raise RequestError(
                "Only a background response can be cancelled: to end this one, close its connection.",
                param="response_id",
                code="response_not_background",
            )
        if found.status in UNFINISHED:  # another server works on it, and will see this
            await self._store.end(owner, found, "cancelled", None)
            found = await self._keeper.stored(owner, response_id)
        return found.body

    async def follow(self, owner: str, response_id: str, starting_after: int | None) -> AsyncGenerator[bytes]:
        """The stream of a background response again, from its beginning or behind one of its events.

        Raises:
            RequestError: As `get`; 400, it does not run in the background, or has no such event.
        """
        start = 0 if starting_after is None else starting_after + 1
        if (run := self._own_run(owner, response_id)) is not None:
            return run.follow(start)
        found = await self._keeper.stored(owner, response_id)
        if not found.background:
            raise RequestError(
                "Only a background response can be streamed again.", param="stream", code="response_not_background"
            )
        while found.status in UNFINISHED:  # another server works on it
            await asyncio.sleep(1)
            found = await self._keeper.stored(owner, response_id)
        frames = await self._store.events(owner, response_id)
        if frames:
            check_start(start, len(frames))
            return _replay(frames[start:])
        # Its server died: what it had sent is lost, and how it ended is known.
        return _replay(ResponseWriter(msgspec.convert(found.body, Response), streams=True).ended(start))

    async def input_items(
        self, owner: str, response_id: str, *, after: str | None, limit: int, newest_first: bool
    ) -> tuple[list[dict[str, Any]], bool]:
        """Up to `limit` of a response's own input items behind the one named, and whether there are more.

        Raises:
            RequestError: As `get`; 400, it has no such item.
        """
        await self._keeper.stored(owner, response_id)
        found = await self._items.input_items(owner, response_id, after=after, limit=limit, newest_first=newest_first)
        if found is None:
            raise RequestError("The response has no such input item.", param="after", code="invalid_value")
        return found

    async def count(self, owner: str, call: responses.ResponseCall) -> int:
        """Tokens that a model would read of a request, as the model itself counts them. Raises as `draft`."""
        model = self._pool.find(call.model, TextAdapter).name
        prompt = await compose(self._items, self._references, owner, call)
        async with aclosing(self._events(call, model, prompt.request)) as events:
            async for event in events:
                if isinstance(event, TextDone):
                    return event.usage.prompt_tokens
        raise GenerationFailed(BROKE_OFF)

    async def tend(self) -> None:
        """Looks after what is stored; runs for as long as the server does."""
        while True:
            try:
                for response_id in await self._keeper.tend():
                    if (run := self._runs.get(response_id)) is not None:
                        await run.stop("cancelled")
            except RequestError as error:
                log.warning("tending responses failed: %s", error.message)
            except Exception:
                log.exception("tending responses failed")
            await asyncio.sleep(TICK_S)

    async def aclose(self) -> None:
        """Stops all work; what was in progress is stored as failed."""
        self._keeper.hurry()
        await asyncio.gather(*(run.stop("stopped") for run in list(self._runs.values())))
        await self._keeper.aclose()

    def _own_run(self, owner: str, response_id: str) -> Run | None:
        run = self._runs.get(response_id)
        return run if run is not None and run.task is not None and run.draft.owner == owner else None

    async def _events(
        self, call: responses.ResponseCall, model: str, request: TextRequest
    ) -> AsyncGenerator[TextEvent]:
        def generate(adapter: TextAdapter) -> AsyncGenerator[TextEvent]:
            return fitting(adapter, request) if call.truncate else adapter.generate(request)

        events = counted(self._pool.stream(model, TextAdapter, generate), model, self._metrics)
        try:
            async with aclosing(events):
                async for event in events:
                    yield event
        except AdapterError as error:
            raise responses.own_param(error) from error.__cause__

    async def _run(self, run: Run) -> None:
        draft, writer = run.draft, run.draft.writer
        last: Sequence[bytes] = ()
        try:
            async with aclosing(self._events(draft.call, draft.response.model, draft.request)) as events:
                async for event in events:
                    if draft.response.status == "queued":
                        run.add(writer.began())
                        with suppress(RequestError):  # a database that fails now may work again at the end
                            await self._store.set_status(draft.response)
                    last = writer.add(event)
                    if writer.finished:
                        break
                    run.add(last)
            if not writer.finished:
                raise GenerationFailed(BROKE_OFF)
        except asyncio.CancelledError:
            cancelled = run.ending == "cancelled"
            last = writer.cancel() if cancelled else writer.fail(wire_error(Interrupted(STOPPED)))
        except Exception as error:
            last = writer.fail(as_wire(error))
        try:
            await self._keeper.keep(draft, [*run.frames, *last])
            run.add(last)
        except Exception as error:
            run.failure = error
        finally:
            run.ended = True
            run.wake()
            del self._runs[draft.response.id]


async def _replay(frames: Sequence[bytes]) -> AsyncGenerator[bytes]:
    for frame in frames:
        yield frame
