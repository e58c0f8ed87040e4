"""The server: HTTP, jobs and storage around the models (see docs/life-of-a-request.md).

app         create_app: the only place that assembles the server from its parts
background  Background tasks of the server, from start to shutdown
commands    The subcommands of `muybridge`: each module is one, with a `register(subparsers)`
http        What every request passes through: connections, bodies, access checks, streams and replies
media       Images that requests refer to
models      Model files and downloads, as the admin routes manage them
outbound    Requests that the server itself sends: images by URL, webhooks
responses   /v1/responses: generating, storing and listing
routes      One file per resource of the API; routes have about ten lines, no formatting and no `try`
services    The parts of the server that routes use: one object, which Litestar injects into them
settings    The settings of the server: address, keys, access checks, limits
storage     What the server stores: the database, generated artifacts, uploaded files
videos      Video jobs: creating, queueing, rendering, recovering, reporting
"""
