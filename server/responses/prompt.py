"""What a response's model gets to read: its own items, those that it refers to, and the conversation before it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from adapters.base import TextRequest
from compat.errors import RequestError
from compat.responses.conversation import conversation
from compat.responses.input import Item
from compat.responses.request import ResponseCall
from server.media.references import References
from server.responses.items import ResponseItems


@dataclass(frozen=True, slots=True)
class Prompt:
    """A request of the seam, and where its messages came from."""

    request: TextRequest
    given: Sequence[Item]
    """The request's own items, references resolved."""
    chain: Sequence[str]
    """The responses that it builds on, oldest first."""


async def compose(items: ResponseItems, references: References, owner: str, call: ResponseCall) -> Prompt:
    """The whole prompt of a call.

    Raises:
        RequestError: 400 or 404, something that it refers to is not there, or does not go together; 503.
    """
    chain: Sequence[str] = ()
    earlier: Sequence[Item] = ()
    if call.previous_response_id is not None:
        chain = await items.chain(owner, call.previous_response_id)
        earlier = await items.items_of(chain)
    given = await _resolved(items, owner, call.items)
    messages = await references.messages(owner, conversation(call.instructions, [*earlier, *given]))
    return Prompt(replace(call.request, messages=messages), given, chain)


async def _resolved(items: ResponseItems, owner: str, given: Sequence[Item]) -> Sequence[Item]:
    wanted = [item.id for item in given if item.wire is None]
    if not wanted:
        return given
    found = await items.find_items(owner, wanted)
    for item in given:
        if item.wire is None and item.id not in found:
            raise RequestError(
                f"There is no item {item.id!r}.", param=f"{item.param}.id", code="item_not_found", status=404
            )
    return [item if item.wire is not None else replace(item, wire=found[item.id]) for item in given]
