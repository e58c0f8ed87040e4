"""/v1/responses: generating, storing and listing.

items        The items of stored responses: conversations to continue, references, pages of input items
persistence  Storing responses while they are generated and when they have ended, also when a server or database fails
prompt       Building a response's prompt: its own items, referenced items, and the conversation before it
runs         Responses that are being generated, and the clients that follow a background run
service      Generating responses in the request or in the background, following, cancelling and deleting them
store        Stored responses as rows, with their items, their owner, and their size
tables       The tables of stored responses, and how their sizes are counted
truncation   `truncation: auto`: drops the oldest turns of a conversation that is too long
"""
