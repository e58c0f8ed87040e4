"""/v1/responses: requests, replies and stream events.

conversation  From stored items to messages, and where a conversation that is too long may be cut
history       Earlier items of a conversation, as any client or server wrote them, in the form of `compat. ...
input         The `input` of a response: OpenAI's items, and the form in which they are stored
queries       The other routes of stored responses: query parameters, pages of items, deletions, token counts
reply         OpenAI's schemas of a response: the object, its output items, and the events of its stream
request       POST /v1/responses: schema and parse of the request, and the initial response
stream        From a model's events to a growing response and the frames of its stream
tools         Tools and text formats of a response, from OpenAI's schemas to the adapter contract
"""
