"""What every request passes through: connections, bodies, access checks, streams and replies.

auth          API keys: who may send requests
bodies        Reading request bodies: JSON and multipart, with limits, strictly UTF-8, files streamed to disk
byte_stream   Files that are sent while they are generated, and cancelled when the client disconnects
drain         Rejecting new requests while the server shuts down
errors        From an exception to a reply: the encoded error envelope, and a log line for server errors
fast_routes   A shortcut around Litestar's routing for the busiest routes
framing       HTTP/1 messages as clients really send them: upgrade offers, trailers, HTTP/1.0
metrics       Request ids, timing headers, Prometheus metrics and request logs
multipart     Parsing multipart bodies as they arrive: text fields into memory, files to disk
origins       Host and Origin checks: protection against DNS rebinding and cross-site requests
protocol      The HTTP/1.1 protocol of the public port: uvicorn's, with deadlines and limits
replies       Replies: JSON of wire objects, raw bytes, and files with range requests
request       What route handlers read from a request besides its body
server        The public port: binding, serving, and draining on SIGTERM
streaming     Long replies: server-sent events, and cancelling work when the client disconnects
text_streams  Merging streams of text events, and counting tokens for the metrics
"""
