"""Images that requests refer to.

check       Pictures of a request, looked at before anything is loaded or kept for it
references  What requests refer to, put in its place: uploaded files of their owner, and images on the web
"""
