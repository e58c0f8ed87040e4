"""/v1/responses: requests, replies and stream events.

conversation  From kept items to the messages of the seam, and where a conversation may be cut when it is too long
input         The `input` of a response: OpenAI's items, the form in which they are kept, and the conversation ...
queries       What else the routes of stored responses take and give: queries, pages of input, deletions, counts
reply         What a response looks like on the wire: the object, its output items, and the events of its stream
request       POST /v1/responses: the request, parsed; and what of a response is known before any work
stream        From the events of the seam to a response that grows, and to the frames of its stream, in the order ...
tools         Tools and text formats of a response: flatter than chat's, and the same to the seam
"""
