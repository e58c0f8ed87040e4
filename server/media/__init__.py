"""Images that requests refer to.

checks      Checking the images of a request before a model is loaded or a job is created for it
references  Resolving what requests refer to: uploaded files of their owner, and images on the web
"""
