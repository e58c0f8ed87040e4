"""Building a response's prompt: its own items, the items that it refers to, and the conversation before it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from adapters.base import TextRequest
from compat.errors import RequestError
from compat.responses.conversation import conversation
from compat.responses.input import Item
from compat.responses.request import ResponseCall
from server.media.references import ReferenceResolver
from server.responses.items import ResponseItems


@dataclass(frozen=True, slots=True)
class Prompt:
    """A request for the model, and where its messages came from."""

    request: TextRequest
    input_items: Sequence[Item]
    """The request's own items, with references resolved."""
    chain: Sequence[str]
    """Ids of the responses that it continues, oldest first."""


async def build_prompt(items: ResponseItems, references: ReferenceResolver, owner: str, call: ResponseCall) -> Prompt:
    """Builds the whole prompt of a call.

    Raises:
        RequestError: 400 or 404, something that the call refers to does not exist, or does not fit together; 503.
    """
    chain: Sequence[str] = ()
    earlier: Sequence[Item] = ()
    if call.previous_response_id is not None:
        chain = await items.chain(owner, call.previous_response_id)
        earlier = await items.items_of(chain)
    input_items = await _resolved(items, owner, call.items)
    messages = await references.resolve_messages(owner, conversation(call.instructions, [*earlier, *input_items]))
    return Prompt(replace(call.request, messages=messages), input_items, chain)


async def _resolved(items: ResponseItems, owner: str, input_items: Sequence[Item]) -> Sequence[Item]:
    references = [item.id for item in input_items if item.wire is None]
    if not references:
        return input_items
    found = await items.find_items(owner, references)
    for item in input_items:
        if item.wire is None and item.id not in found:
            raise RequestError(
                f"There is no stored item {item.id!r}. Send the whole item instead of a reference to it.",
                param=f"{item.param}.id",
                code="item_not_found",
                status=404,
            )
    return [item if item.wire is not None else replace(item, wire=found[item.id]) for item in input_items]
