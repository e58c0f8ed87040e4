"""POST /v1/decisions: questions about texts and images, answered with probabilities."""

from litestar import Response, post

from adapters.base import JudgeRequest, JudgeResult, TextAdapter
from compat.decisions.request import parse, render
from server.http import replies
from server.http.request import AnyRequest, owner_of
from server.http.streaming import until_disconnect
from server.services import Services


@post("/v1/decisions", status_code=200)
async def create(request: AnyRequest, services: Services) -> Response[bytes]:
    """Answers questions, in their order."""
    call = await services.bodies.parsed(request, parse)
    model = services.pool.find(call.model, TextAdapter).name
    judged = await until_disconnect(request, _judge(services, owner_of(request), model, call.request))
    return replies.json(render(call, model, judged))


async def _judge(services: Services, owner: str, model: str, request: JudgeRequest) -> JudgeResult:
    request = await services.references.resolve_judge(owner, request)
    async with services.pool.lease(model, TextAdapter) as adapter:
        return await adapter.judge(request)
