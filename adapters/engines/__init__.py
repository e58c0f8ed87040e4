"""What several kinds share of one engine library.

diffusers          What the diffusers backends share: options, placement, loading from local files, and the ...
python_allocator   Which allocator serves Python's objects: its own, of arenas of a megabyte, or the C library's
shared_components  Components that an SDXL base and its refiner share, so that they are kept in memory once
threads            Blocking work in one thread, seen from asyncio as a stream of events
torchvision_cpu    Lets code that knows torchvision, torchaudio and torchcodec run beside a CPU build of torch
vllm               One vLLM engine: how it is configured, started and ended
vllm_sockets       The sockets between server and engine, without pyzmq's asyncio layer
"""
