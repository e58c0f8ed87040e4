"""Requests that the server itself sends: images by URL, webhooks.

http_client     One HTTP/1.1 request to a checked address: no connection pool, no proxy, no redirects
image_fetcher   Fetching images from the web for clients, where the operator allows it
public_address  Resolving a host name to one checked IP address (SSRF protection)
webhook_client  Sending a webhook: one POST to the URL that the operator has configured
"""
