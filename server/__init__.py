"""The server: HTTP, jobs and storage around the models (see docs/life-of-a-request.md).

app         create_app: the only place where the server's parts are put together
background  Background tasks of the server, and their end
commands    The subcommands of `muybridge`: every module here is one, and brings a `register(subparsers)`
http        What every request passes through: connections, bodies, access checks, streams and replies
media       Images that requests refer to
models      Model files and downloads, as the admin routes manage them
outbound    Requests that the server itself sends: images by URL, webhooks
responses   /v1/responses: running, storing and listing
routes      One file per resource of the API; bodies under about ten lines, no formatting and no `try`
services    What routes need beside the request: one object, handed to them by Litestar's dependency injection
settings    What the operator may set: address, keys, gates, limits
storage     What is kept: the database, generated artifacts, uploaded files
videos      Video jobs: creating, queueing, rendering, recovering, reporting
"""
