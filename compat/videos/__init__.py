"""/v1/videos: requests and replies.

continuations  Videos from videos: remix, extension and edit
create         POST /v1/videos and /v1/videos/transitions: OpenAI's schema of a create, and ours of a transition
fields         What all requests for videos share: fields, limits, and how lengths are worked out
plan           The plan of a video job: shots, and how they are joined
replies        OpenAI's schemas of video jobs and their events, and functions that build them
sequences      /v1/videos/sequences: its schema and its plan
"""
