"""/v1/videos: requests and replies.

continuations  Videos made of videos: remix, extension and edit; their schemas, and what is filmed
create         POST /v1/videos and /v1/videos/transitions: OpenAI's schema of a create, and ours of a transition
fields         What all requests for videos share: fields, limits, and how lengths are worked out
plan           What a video job films: shots, and how they become one film
replies        What is told of videos: OpenAI's schemas of video jobs and of their events, and what fills them
sequences      /v1/videos/sequences: its schema, and the shots that it is filmed in
"""
