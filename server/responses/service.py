"""Responses: generating them in the request or in the background, following, cancelling and deleting them.

A stored response is a row before its first event is sent, and its result is stored before its last event is sent.
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
from compat.responses.reply import UNFINISHED, Response
from compat.responses.request import ResponseCall, begin, is_id, own_param
from compat.responses.stream import ResponseWriter
from server.http.errors import to_wire_error
from server.http.metrics import Metrics
from server.http.text_streams import count_tokens
from server.media.references import ReferenceResolver
from server.responses.items import ResponseItems
from server.responses.persistence import STOPPED, ResponsePersistence, not_found
from server.responses.prompt import build_prompt
from server.responses.runs import BackgroundRun, Draft, check_start
from server.responses.store import ResponseStore
from server.responses.truncation import generate_truncated
from server.storage.pages import CursorNotFound

log = logging.getLogger(__name__)

INTERVAL_S = 3.0
NO_END = "The model stopped without finishing its answer. Send the request again."


class ResponseService:
    """All responses of this server."""

    def __init__(
        self,
        pool: Pool,
        store: ResponseStore,
        items: ResponseItems,
        references: ReferenceResolver,
        metrics: Metrics,
        *,
        max_background: int,
    ) -> None:
        """Starts no work yet.

        Args:
            pool: The models.
            store: Holds stored responses.
            items: Reads conversations.
            references: Resolves images that requests refer to.
            metrics: Counts tokens.
            max_background: How many background responses may run at the same time.
        """
        self._items = items
        self._references = references
        self._pool = pool
        self._store = store
        self._persistence = ResponsePersistence(store)
        self._metrics = metrics
        self._max_background = max_background
        self._runs: dict[str, BackgroundRun] = {}

    @property
    def is_busy(self) -> bool:
        """Whether background responses are being generated."""
        return bool(self._runs)

    async def draft(self, owner: str, call: ResponseCall) -> Draft:
        """Prepares a response: its id, and its whole conversation.

        Raises:
            RequestError: As `build_prompt`.
            ModelNotFound, WrongModelKind: As `Pool.find`.
        """
        model = self._pool.find(call.model, TextAdapter).name
        prompt = await build_prompt(self._items, self._references, owner, call)
        response = begin(call, model)
        streams = call.stream or call.background
        writer = ResponseWriter(response, streams=streams, obfuscate=call.obfuscate, called=call.called)
        return Draft(owner, call, prompt.request, response, prompt.input_items, prompt.chain, writer)

    async def generate(self, draft: Draft) -> AsyncGenerator[bytes]:
        """Generates a response while it is iterated, and yields the frames of its stream, if it streams.

        An error before the first event is raised. A later one is the last event of the stream, or is raised if the
        response does not stream. The result is in `draft.response`.
        """
        writer = draft.writer
        async with aclosing(self._events(draft.call, draft.response.model, draft.request)) as events:
            first = await anext(events, None)
            if first is None:
                raise GenerationFailed(NO_END)
            if draft.call.store:
                await self._persistence.begin(draft)
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
                    raise GenerationFailed(NO_END)
            except Exception as error:
                last = writer.fail(to_wire_error(error))
                if not draft.call.stream:
                    raise
            finally:
                if not writer.finished:  # closed or cancelled: the client has disconnected
                    writer.cancel()
                saving = self._persistence.finish(draft)
            await asyncio.shield(saving)
            for frame in last:
                yield frame

    async def start_background(self, draft: Draft) -> BackgroundRun:
        """Starts to generate a response in the background. It is stored before that.

        Raises:
            RequestError: 503, too many background responses are running; 429 or 503, it cannot be stored.
        """
        if len(self._runs) >= self._max_background:
            raise RequestError(
                f"The server already runs {self._max_background} background responses. Try again when some are done, "
                "or send background: false.",
                code="queue_full",
                status=503,
                headers={"Retry-After": "5"},
            )
        run = self._runs[draft.response.id] = BackgroundRun(draft)
        try:
            await self._persistence.begin(draft)
        except BaseException:
            del self._runs[draft.response.id]
            raise
        run.add(draft.writer.created())
        run.task = asyncio.create_task(self._run(run))
        return run

    async def get(self, owner: str, response_id: str) -> Response | dict[str, Any]:
        """A stored response in its current state.

        Raises:
            RequestError: 404, the owner has no such response; 503.
        """
        if (run := self._own_run(owner, response_id)) is not None and not run.draft.writer.finished:
            return run.draft.response
        if (
            run is not None and run.task is not None
        ):  # its result is being stored; until then no response can continue it
            await asyncio.wait([run.task])
        return (await self._persistence.get(owner, response_id)).body

    async def delete(self, owner: str, response_id: str) -> None:
        """Deletes a response. A running one is stopped first. Raises as `get`."""
        if (run := self._own_run(owner, response_id)) is not None:
            await run.stop("cancelled")
        if not is_id(response_id) or not await self._store.delete(owner, response_id):
            raise not_found()

    async def cancel(self, owner: str, response_id: str) -> Response | dict[str, Any]:
        """Cancels a background response. One that has ended already is not changed.

        Raises:
            RequestError: As `get`; 400, the response was not created with `background: true`.
        """
        if (run := self._own_run(owner, response_id)) is not None:
            await run.stop("cancelled")
            return run.draft.response
        found = await self._persistence.get(owner, response_id)
        if not found.background:
            raise RequestError(
                "Only a response that was created with background: true can be cancelled. To stop this one, close its "
                "connection.",
                param="response_id",
                code="response_not_background",
            )
        if found.status in UNFINISHED:  # another server generates it, and stops at its next round
            await self._store.end(owner, found, "cancelled", None)
            found = await self._persistence.get(owner, response_id)
        return found.body

    async def follow(self, owner: str, response_id: str, starting_after: int | None) -> AsyncGenerator[bytes]:
        """The stream of a background response, from its start or after one of its events.

        Raises:
            RequestError: As `get`; 400, the response was not created with `background: true`, or has no such event.
        """
        start = 0 if starting_after is None else starting_after + 1
        if (run := self._own_run(owner, response_id)) is not None:
            return run.follow(start)
        found = await self._persistence.get(owner, response_id)
        if not found.background:
            raise RequestError(
                "Only a response that was created with background: true can be streamed again. Send the request "
                "without stream.",
                param="stream",
                code="response_not_background",
            )
        while found.status in UNFINISHED:  # another server generates it
            await asyncio.sleep(1)
            found = await self._persistence.get(owner, response_id)
        frames = await self._store.events(owner, response_id)
        if frames:
            check_start(start, len(frames))
            return _replay(frames[start:])
        # Its server has ended: the events are lost, and only the final state is known.
        return _replay(ResponseWriter(msgspec.convert(found.body, Response), streams=True).ended(start))

    async def input_items(
        self, owner: str, response_id: str, *, after: str | None, limit: int, newest_first: bool
    ) -> tuple[list[dict[str, Any]], bool]:
        """Up to `limit` of a response's own input items after the item `after`, and whether there are more.

        Raises:
            RequestError: As `get`; 400, the response has no input item with the id `after`.
        """
        await self._persistence.get(owner, response_id)
        try:
            return await self._items.input_items(
                owner, response_id, after=after, limit=limit, newest_first=newest_first
            )
        except CursorNotFound:
            raise RequestError(
                "Invalid 'after': the response has no input item with that id. Send the last_id of the page before.",
                param="after",
                code="invalid_value",
            ) from None

    async def count(self, owner: str, call: ResponseCall) -> int:
        """The number of prompt tokens of a request, counted by the model itself. Raises as `draft`."""
        model = self._pool.find(call.model, TextAdapter).name
        prompt = await build_prompt(self._items, self._references, owner, call)
        async with aclosing(self._events(call, model, prompt.request)) as events:
            async for event in events:
                if isinstance(event, TextDone):
                    return event.usage.prompt_tokens
        raise GenerationFailed(NO_END)

    async def run(self) -> None:
        """Maintains stored responses for as long as the server runs."""
        while True:
            try:
                for response_id in await self._persistence.reconcile():
                    if (run := self._runs.get(response_id)) is not None:
                        await run.stop("cancelled")
            except RequestError as error:
                log.warning("maintaining stored responses failed: %s", error.message)
            except Exception:
                log.exception("maintaining stored responses failed")
            await asyncio.sleep(INTERVAL_S)

    async def aclose(self) -> None:
        """Stops all work. Responses in progress are stored as failed."""
        self._persistence.stop_retrying()
        await asyncio.gather(*(run.stop("stopped") for run in list(self._runs.values())))
        await self._persistence.aclose()

    def _own_run(self, owner: str, response_id: str) -> BackgroundRun | None:
        run = self._runs.get(response_id)
        return run if run is not None and run.task is not None and run.draft.owner == owner else None

    async def _events(self, call: ResponseCall, model: str, request: TextRequest) -> AsyncGenerator[TextEvent]:
        def generate(adapter: TextAdapter) -> AsyncGenerator[TextEvent]:
            return generate_truncated(adapter, request) if call.truncate else adapter.generate(request)

        events = count_tokens(self._pool.stream(model, TextAdapter, generate), model, self._metrics)
        try:
            async with aclosing(events):
                async for event in events:
                    yield event
        except AdapterError as error:
            raise own_param(error) from error.__cause__

    async def _run(self, run: BackgroundRun) -> None:
        draft, writer = run.draft, run.draft.writer
        last: Sequence[bytes] = ()
        try:
            async with aclosing(self._events(draft.call, draft.response.model, draft.request)) as events:
                async for event in events:
                    if draft.response.status == "queued":
                        run.add(writer.began())
                        with suppress(RequestError):  # the database may work again when the result is stored
                            await self._store.set_status(draft.response)
                    last = writer.add(event)
                    if writer.finished:
                        break
                    run.add(last)
            if not writer.finished:
                raise GenerationFailed(NO_END)
        except asyncio.CancelledError:
            cancelled = run.ending == "cancelled"
            last = writer.cancel() if cancelled else writer.fail(wire_error(Interrupted(STOPPED)))
        except Exception as error:
            last = writer.fail(to_wire_error(error))
        try:
            await self._persistence.finish(draft, [*run.frames, *last])
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
