"""/v1/responses: running, storing and listing.

items        The items of stored responses: conversations that are taken up again, references, pages of input
persistence  Keeps responses while and after they are worked on: beginnings, signs of life, ends that must not be lost
prompt       What a response's model gets to read: its own items, those that it refers to, and the conversation ...
runs         A response that is being worked on: what it was asked, what it has written so far, and who follows it
service      Responses: worked on in the request or in the background, followed, cancelled, deleted
store        Stored responses as rows: each with its items, its owner, and what it weighs
tables       The tables of stored responses, and what their users share
truncation   `truncation: auto`: a conversation that is too long loses its oldest turns
"""
