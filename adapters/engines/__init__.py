"""What several kinds share of one engine library.

byte_level         How byte-level BPE vocabularies (GPT-2, Qwen, Llama 3, Whisper) write bytes as characters
diffusers          What the diffusers backends share: options, device, loading from local files, and checks of requests
errors             Exceptions of engine libraries as adapter errors
python_allocator   Switches between CPython's own allocator, with arenas of a megabyte, and the C library's
shared_components  Components that an SDXL base and its refiner share, so that they are kept in memory once
threads            Blocking work in one thread, seen from asyncio as a stream of events
torchvision_cpu    Makes torchvision, torchaudio and torchcodec importable, or cleanly absent, beside a CPU ...
vllm               One vLLM engine, for text and for embeddings: how it is configured, started and stopped
vllm_architectures  Which model architectures the installed vLLM runs, read from its source
vllm_settings      How a vLLM engine is configured: options of the operator, engine arguments, environment variables
vllm_watchdog      Notices an engine's process that hangs: it is killed, its requests end, the model can be loaded again
vllm_sockets       The sockets between vLLM's AsyncLLM and its engine, without pyzmq's asyncio layer
"""
