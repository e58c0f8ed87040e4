"""Models and how they are run; `adapters/base/` is the contract that server and compat use.

base       The contract: one abstract class per kind of model, and the frozen dataclasses that cross it
catalog    Which models exist: the catalog, its schema, configuration files of models
embedding  Texts to vectors, two backends: transformers (torch alone, starts in seconds) and vLLM's pooling engine
engines    What several kinds share of one engine library
errors     What can go wrong in an adapter, as exceptions that know nothing of HTTP
fake       A deterministic, instant fake of every kind: for tests, for trying clients, and as the smallest example ...
files      Files that survive a power cut: written under a temporary name, flushed, and renamed into place
hardware   What this machine computes in: GPUs by NVIDIA's management library, cores and RAM within the ...
image      Images by any of diffusers' text-to-image pipelines
loader     Getting a model's files onto this machine, and verifying them
media      Untrusted bytes to pixels and samples, and back: the only decoders of uploads
memory     Memory estimates from configuration files
pool       The models of a server: loading, leasing, evicting
process    A model in a process of its own
registry   Backends by name: which class serves a model, and in which process it lives
speech     Speech to text on faster-whisper
text       Language models, with or without images, on vLLM
video      Videos by diffusers' LTX and Wan pipelines
vision     Scene validation and consistency, on any model that judges images
voice      Voices: English text to speech
"""
