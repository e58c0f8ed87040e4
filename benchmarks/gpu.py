"""Figures of the adapters on one GPU, with random weights of the real sizes; ten minutes at most.

    python benchmarks/gpu.py [--small] [env] [image] [video] [swap] [speech]

Run it in the repository's root, before any other work on a machine with a GPU. Shapes come from adapters/memory/known,
tokenizers from the starter's checkpoints. `--small` shrinks all of it, for a rehearsal on a CPU. Each part prints lines
"name | value | beside it"; a part that fails says so, and the next one goes on. docs/measurements/gpu.md says what each
line decides.

Environment: CHECK_S (seconds, 560), CHECK_DIR (folder of the checkpoints), CHECK_ALLOC (PYTORCH_CUDA_ALLOC_CONF),
CHECK_WHISPER (folder with config.json, tokenizer.json and vocabulary.json of whisper-base).
"""

import asyncio
import dataclasses
import gc
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, os.getcwd())
if "CHECK_ALLOC" in os.environ:
    os.environ.setdefault("PYTORCH_CUDA_ALLOC_CONF", os.environ["CHECK_ALLOC"])

import torch

from adapters import hardware
from adapters.base import (
    GeneratedImage,
    ImageAdapter,
    ImageRequest,
    Media,
    ModelFiles,
    TranscriptionRequest,
    VideoAdapter,
    VideoRequest,
)
from adapters.catalog.catalog import ModelEntry, Profile
from adapters.memory.configs import KNOWN
from adapters.memory.estimate import estimate_directory
from adapters.process.memory_usage import used_bytes

STARTED = time.perf_counter()
LIMIT_S = float(os.environ.get("CHECK_S", "560"))
SMALL = "--small" in sys.argv
WORK = Path(os.environ.get("CHECK_DIR", str(Path(tempfile.gettempdir()) / "gpu-check")))
PARTS = [one for one in sys.argv[1:] if not one.startswith("-")] or ["env", "image", "video", "swap"]
SIDE, STEPS = (64, 2) if SMALL else (1024, 30)
FRAMES, WIDTH, HEIGHT = (25, 64, 64) if SMALL else (121, 768, 512)
PROMPT = "a red fox in the forest at night"
CUDA = torch.cuda.is_available()
DEVICE = "cuda" if CUDA else "cpu"


def say(name: str, value: Any, beside: Any = "") -> None:
    """Prints one line."""
    print(f"[{time.perf_counter() - STARTED:6.1f}] {name:58s} | {value} | {beside}", flush=True)


def left() -> float:
    """Seconds until the limit."""
    return LIMIT_S - (time.perf_counter() - STARTED)


def known(name: str) -> dict[str, Any]:
    """The config files of a repository."""
    return json.loads((KNOWN / name).read_text("utf-8"))


class GpuMemory:
    """Memory of the first GPU, sampled in a thread."""

    def __init__(self) -> None:
        """Starts the thread."""
        self.peak = self.base = self.now()
        threading.Thread(target=self._watch, daemon=True).start()

    def now(self) -> int:
        """Bytes in use; 0 without a GPU."""
        found = hardware.gpus()
        return found[0].total_bytes - found[0].free_bytes if found else 0

    def reset(self) -> None:
        """Forgets the peak."""
        self.peak = self.now()

    def _watch(self) -> None:
        while True:
            self.peak = max(self.peak, self.now())
            time.sleep(0.02)


MEMORY = GpuMemory()


def made_on_device(make: Callable[[], Any], dtype: torch.dtype) -> Any:
    """A module with random weights, made where that is fast."""
    with torch.device(DEVICE):
        return make().to(dtype).eval()


def sdxl(path: Path) -> Path:
    """A checkpoint of SDXL's shape."""
    if (path / "model_index.json").is_file():
        return path
    from diffusers import AutoencoderKL, EulerDiscreteScheduler, StableDiffusionXLPipeline, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

    torch.manual_seed(0)
    found = known("stabilityai--stable-diffusion-xl-base-1.0.json")
    home = Path("starter/checkpoints/image")
    tokenizers = [CLIPTokenizer.from_pretrained(home / one) for one in ("tokenizer", "tokenizer_2")]
    names = ("unet", "vae", "text_encoder", "text_encoder_2")
    unet, vae, one, two = (dict(found[f"{name}/config.json"]) for name in names)
    if SMALL:
        unet |= {
            "block_out_channels": [32, 64, 64], "attention_head_dim": [2, 4, 4], "cross_attention_dim": 64,
            "transformer_layers_per_block": [1, 1, 1], "projection_class_embeddings_input_dim": 6 * 256 + 32,
            "sample_size": 8,
        }  # fmt: skip
        vae |= {"block_out_channels": [32, 32, 32, 32], "sample_size": 64}
        for text in (one, two):
            text |= {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
            text |= {"projection_dim": 32}

    def config(text: dict[str, Any], tokenizer: Any) -> Any:
        tokens = {f"{name}_token_id": getattr(tokenizer, f"{name}_token_id") for name in ("bos", "eos", "pad")}
        plain = {key: value for key, value in text.items() if key not in ("architectures", "model_type")}
        return CLIPTextConfig(**plain, **tokens)

    half = torch.float16
    StableDiffusionXLPipeline(
        vae=made_on_device(lambda: AutoencoderKL.from_config(vae), half),
        text_encoder=made_on_device(lambda: CLIPTextModel(config(one, tokenizers[0])), half),
        text_encoder_2=made_on_device(lambda: CLIPTextModelWithProjection(config(two, tokenizers[1])), half),
        tokenizer=tokenizers[0],
        tokenizer_2=tokenizers[1],
        unet=made_on_device(lambda: UNet2DConditionModel.from_config(unet), half),
        scheduler=EulerDiscreteScheduler(
            beta_start=0.00085,
            beta_end=0.012,
            beta_schedule="scaled_linear",
            steps_offset=1,
            timestep_spacing="leading",
        ),
        add_watermarker=False,
    ).save_pretrained(path, variant="fp16")
    return path


def ltx(path: Path) -> Path:
    """A checkpoint of LTX-Video 0.9.5's shape."""
    if (path / "model_index.json").is_file():
        return path
    from diffusers import (
        AutoencoderKLLTXVideo,
        FlowMatchEulerDiscreteScheduler,
        LTXPipeline,
        LTXVideoTransformer3DModel,
    )
    from transformers import T5Config, T5EncoderModel, T5Tokenizer

    torch.manual_seed(0)
    found = known("Lightricks--LTX-Video-0.9.5.json")
    transformer, vae, text = (dict(found[f"{name}/config.json"]) for name in ("transformer", "vae", "text_encoder"))
    if SMALL:
        transformer |= {
            "num_layers": 2, "num_attention_heads": 2, "attention_head_dim": 16, "cross_attention_dim": 32,
            "caption_channels": 32, "in_channels": 16, "out_channels": 16,
        }  # fmt: skip
        vae |= {"block_out_channels": [16, 32, 64, 128, 256], "decoder_block_out_channels": [32, 64, 128]}
        vae |= {"latent_channels": 16, "layers_per_block": [1] * 5, "decoder_layers_per_block": [1] * 4}
        text |= {"d_model": 32, "d_ff": 64, "d_kv": 8, "num_heads": 4, "num_layers": 2}
    plain = {key: value for key, value in text.items() if key not in ("architectures", "model_type")}
    narrow = torch.bfloat16
    LTXPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(),
        vae=made_on_device(lambda: AutoencoderKLLTXVideo.from_config(vae), narrow),
        text_encoder=made_on_device(lambda: T5EncoderModel(T5Config(**plain)), narrow),
        tokenizer=T5Tokenizer.from_pretrained("starter/checkpoints/video/tokenizer"),
        transformer=made_on_device(lambda: LTXVideoTransformer3DModel.from_config(transformer), narrow),
    ).save_pretrained(path)
    return path


def free() -> None:
    """Returns cached memory, and forgets the peaks."""
    gc.collect()
    if CUDA:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    MEMORY.reset()


def entry_of(kind: str, path: Path, **fields: Any) -> ModelEntry:
    """A catalog entry of a checkpoint."""
    return ModelEntry.model_validate({"kind": kind, "backend": f"diffusers-{kind}", "sources": [str(path)], **fields})


def memory_line(name: str, kind: str, path: Path, *, options: dict[str, Any] | None = None, **defaults: Any) -> None:
    """Compares the estimate with what torch and the driver count."""
    entry = entry_of(kind, path, options=options or {}, defaults=defaults)
    guess = estimate_directory(path, entry, device="cuda" if CUDA else "cpu")
    counted = "no GPU"
    if CUDA:
        peaks = (torch.cuda.max_memory_allocated(), torch.cuda.max_memory_reserved(), MEMORY.peak - MEMORY.base)
        counted = "allocated {:.2f} reserved {:.2f} driver {:.2f} GiB".format(*(one / 2**30 for one in peaks))
    say(name, counted, f"estimate {guess.total_bytes / 2**30:.2f} GiB {guess}")


async def draw(adapter: Any, n: int = 1, seed: int = 1, steps: int = STEPS) -> tuple[float, list[bytes | None]]:
    """Seconds of a request for images, and the images."""
    started, images = time.perf_counter(), []
    request = ImageRequest(PROMPT, width=SIDE, height=SIDE, num_inference_steps=steps, seed=seed, n=n)
    async for event in adapter.generate(request):
        if isinstance(event, GeneratedImage):
            images.append(event.image.data)
    return time.perf_counter() - started, images


async def image_part() -> None:
    """SDXL: start, one image, eight at once, layouts, compilation, decoding, PNG."""
    from PIL import Image

    from adapters.image.diffusers_image import DiffusersImage
    from adapters.media.decode_image import encode_image
    from adapters.process.remote import RemoteImage

    started = time.perf_counter()
    path = sdxl(WORK / "sdxl")
    say("sdxl: checkpoint made", f"{time.perf_counter() - started:.1f} s")
    free()
    files = ModelFiles("sdxl", "diffusers-image", str(path), {"batch_size": 1})
    for turn in ("first", "warm"):
        started = time.perf_counter()
        remote = await RemoteImage.load(files, lambda _: None)
        loaded = time.perf_counter() - started
        spent, _ = await draw(remote)
        held = (remote.memory_bytes() or 0) / 2**30
        say(
            f"G8 {turn} process: load / to the first image", f"{loaded:.1f} / {loaded + spent:.1f} s", f"{held:.2f} GiB"
        )
        await remote.unload()
    free()
    adapter = await DiffusersImage.load(files, lambda _: None)
    model = adapter._model

    async def measure(name: str, *, exact: bool, batch: int, n: int = 1, times: int = 2) -> tuple[float, list[Any]]:
        adapter._model = dataclasses.replace(model, exact=exact)
        adapter._batcher._size = batch
        best, images = 1e9, []
        for _ in range(times if left() > 60 else 1):
            started = time.perf_counter()
            found = await asyncio.gather(*(draw(adapter, seed=seed) for seed in range(1, n + 1)))
            best, images = min(best, time.perf_counter() - started), [one[1][0] for one in found]
        say(name, f"{best:.2f} s", f"{best / n:.2f} s an image")
        return best, images

    await draw(adapter, steps=2)
    _, alone = await measure("G4 one image, exact_batches: true", exact=True, batch=1)
    eager, _ = await measure("G4 one image, exact_batches: false (the default)", exact=False, batch=1)
    memory_line("sdxl: memory, one image", "image", path, options={"batch_size": 1}, width=SIDE, height=SIDE)
    await measure("G5 eight at once, batch 8, exact_batches: false", exact=False, batch=8, n=8, times=1)
    memory_line("sdxl: memory, eight images", "image", path, options={"batch_size": 8}, width=SIDE, height=SIDE)
    await measure("G5 eight at once, one by one, exact_batches: false", exact=False, batch=1, n=8, times=1)
    _, eight = await measure("G5 eight at once, batch 8, exact_batches: true", exact=True, batch=8, n=8, times=1)
    say("the same seed, the same bytes: alone and in a batch of 8", alone[0] == eight[0])
    pipeline = model.pipeline
    for layout in (torch.channels_last, torch.contiguous_format):
        for network in (pipeline.unet, pipeline.vae):
            network.to(memory_format=layout)
        if layout is torch.channels_last and left() > 200:
            await measure("G4 one image, channels_last, exact_batches: false", exact=False, batch=1)
            await measure("   the same, exact_batches: true", exact=True, batch=1)
    latents = torch.zeros(1, 4, SIDE // 8, SIDE // 8, device=DEVICE)
    for name, dtype in (("float32, as now", torch.float32), ("bfloat16", torch.bfloat16)):
        pipeline.vae.to(dtype)
        with torch.no_grad():
            for _ in range(2):
                started = time.perf_counter()
                pipeline.vae.decode(latents.to(dtype))
                if CUDA:
                    torch.cuda.synchronize()
        say(f"decoding one image, {name}", f"{time.perf_counter() - started:.3f} s")
    pipeline.vae.to(pipeline.unet.dtype)
    noise = torch.randint(0, 256, (SIDE, SIDE, 3), dtype=torch.uint8).numpy()
    started = time.perf_counter()
    encode_image(Image.fromarray(noise), "image/png")
    say("PNG of noise, in the encoder's thread", f"{time.perf_counter() - started:.3f} s")
    if left() > 240 and CUDA:
        pipeline.unet.compile_repeated_blocks()
        await measure("G4 compile: regional, first image", exact=False, batch=1, times=1)
        await measure("G4 compile: regional, then", exact=False, batch=1)
        say("G4 wanted: <= 0.55 x eager and <= 1.0 s", f"eager {eager:.2f} s")
    adapter._model = model
    await adapter.unload()
    free()


async def video_part() -> None:
    """LTX-Video: denoising, decoding in tiles, encoding."""
    from adapters.video.diffusers_video import DiffusersVideo

    started = time.perf_counter()
    path = ltx(WORK / "ltx")
    say("ltx: checkpoint made", f"{time.perf_counter() - started:.1f} s")
    free()
    started = time.perf_counter()
    adapter = await DiffusersVideo.load(ModelFiles("ltx", "diffusers-video", str(path), {}), lambda _: None)
    say("ltx: load", f"{time.perf_counter() - started:.1f} s")
    for steps, scale, tiles in ((8, 1.0, 64), (8, 1.0, 64), (8, 3.0, 64), (8, 1.0, 1000)):
        if left() < 40:
            break
        adapter._options = adapter._options.model_copy(update={"tile_frames": tiles})
        free()
        started, marks = time.perf_counter(), []
        request = VideoRequest(
            PROMPT,
            width=WIDTH,
            height=HEIGHT,
            num_frames=FRAMES,
            num_inference_steps=steps,
            guidance_scale=scale,
            seed=1,
        )
        async for _ in adapter.generate(request):
            marks.append(time.perf_counter() - started)
        say(
            f"G6 ltx {FRAMES} frames {WIDTH}x{HEIGHT}, {steps} steps, guidance {scale:g}, tiles {tiles}",
            f"{marks[-1]:.2f} s",
            f"text + denoise {marks[steps - 1]:.2f}, decode {marks[-2] - marks[steps - 1]:.2f}, "
            f"rest of the encoding {marks[-1] - marks[-2]:.2f}",
        )
        options = {"tile_frames": tiles}
        memory_line("   memory", "video", path, options=options, width=WIDTH, height=HEIGHT, num_frames=FRAMES)
    await adapter.unload()
    free()


async def swap_part() -> None:
    """Two models that take turns on a budget of 24 GiB."""
    from adapters.pool.pool import Pool

    paths = {"sdxl": sdxl(WORK / "sdxl"), "ltx": ltx(WORK / "ltx")}
    size = {"width": SIDE, "height": SIDE}
    models = {
        "sdxl": entry_of("image", paths["sdxl"], options={"batch_size": 1}, defaults=size),
        "ltx": entry_of("video", paths["ltx"]),
    }

    async def fetch(name: str, entry: ModelEntry, report: Any) -> Path:
        return paths[name]

    budget = 24 * 2**30
    pool = Pool(
        models,
        Profile(models=("sdxl", "ltx")),
        fetch,
        budgets={0: budget, None: 64 * 2**30} if CUDA else {None: budget},
        estimate=lambda entry, path: estimate_directory(path, entry).total_bytes if path else 0,
    )
    image = ImageRequest(PROMPT, width=SIDE, height=SIDE, num_inference_steps=2, seed=1)
    video = VideoRequest(
        PROMPT, width=WIDTH, height=HEIGHT, num_frames=25, num_inference_steps=2, guidance_scale=1.0, seed=1
    )
    MEMORY.reset()
    for turn in range(3):
        if left() < 40:
            break
        started = time.perf_counter()
        async for _ in pool.stream("sdxl", ImageAdapter, lambda model: model.generate(image)):
            pass
        first = time.perf_counter() - started
        started = time.perf_counter()
        async for _ in pool.stream("ltx", VideoAdapter, lambda model: model.generate(video)):
            pass
        peak = (MEMORY.peak - MEMORY.base) / 2**30
        spent = f"{first:.1f} / {time.perf_counter() - started:.1f} s"
        say(f"G3 swap {turn}: image / video, each after a swap", spent, f"peak {peak:.1f} of {budget / 2**30:.0f} GiB")
    for slot in pool.slots:
        sizes = ((slot.peak_bytes or 0) / 2**30, (slot.estimated_bytes or 0) / 2**30)
        say(f"   {slot.name}: measured / estimated", "{:.2f} / {:.2f} GiB".format(*sizes))
    await pool.aclose()


def whisper(path: Path) -> Path:
    """A Whisper of large-v3-turbo's shape with random weights, in CTranslate2's format."""
    if (path / "model.bin").is_file():
        return path
    from ctranslate2.converters.transformers import WhisperLoader
    from transformers import WhisperConfig, WhisperForConditionalGeneration

    source = Path(os.environ["CHECK_WHISPER"])
    vocabulary = json.loads((source / "vocabulary.json").read_text("utf-8"))
    width, layers, heads = (64, 2, 2) if SMALL else (1280, 32, 20)
    decoder = 1 if SMALL else 4
    torch.manual_seed(0)
    config = WhisperConfig(
        vocab_size=len(vocabulary), num_mel_bins=80, d_model=width, encoder_layers=layers, decoder_layers=decoder,
        encoder_attention_heads=heads, decoder_attention_heads=heads, encoder_ffn_dim=4 * width,
        decoder_ffn_dim=4 * width,
    )  # fmt: skip
    with torch.no_grad():
        spec = WhisperLoader().get_model_spec(WhisperForConditionalGeneration(config).eval())
    spec.register_vocabulary(vocabulary)
    own = json.loads((source / "config.json").read_text("utf-8"))
    for name in ("suppress_ids", "suppress_ids_begin", "lang_ids"):
        setattr(spec.config, name, own.get(name))
    spec.config.alignment_heads = [[layer, head] for layer in range(decoder) for head in range(2)]
    spec.validate()
    spec.optimize(quantization="float16")
    path.mkdir(parents=True, exist_ok=True)
    spec.save(str(path))
    for name in ("tokenizer.json", "vocabulary.json"):
        shutil.copy(source / name, path / name)
    return path


async def speech_part() -> None:
    """Whisper: whether cuBLAS is found, and windows in a row or side by side."""
    import numpy as np

    from adapters.speech.whisper import WhisperSpeech

    path = whisper(WORK / "whisper")
    audio = np.random.default_rng(0).normal(0, 0.1, 16_000 * 30 * (2 if SMALL else 16)).astype("float32")
    for compute in ("float16", "int8_float16", "auto") if CUDA else ("float32",):
        files = ModelFiles("whisper", "faster-whisper", str(path), {"compute_type": compute, "max_batch": 16})
        adapter = await WhisperSpeech.load(files, lambda _: None)
        say(f"speech, {compute}: loaded, one window encoded", adapter._whisper.model.compute_type)

        async def hear(piece: Any, adapter: Any = adapter) -> float:
            adapter._decode = lambda audio, first_s=None: piece
            started = time.perf_counter()
            request = TranscriptionRequest(Media("audio/wav", b"-"), language="en", temperature=(0.0,), beam_size=5)
            async for _ in adapter.transcribe(dataclasses.replace(request, word_timestamps=False)):
                pass
            return time.perf_counter() - started

        window = 16_000 * 30
        await hear(audio[:window])
        alone = await hear(audio)
        started = time.perf_counter()
        await asyncio.gather(*(hear(audio[at : at + window]) for at in range(0, len(audio), window)))
        together = time.perf_counter() - started
        name = f"G7 {len(audio) / 16_000:.0f} s of audio, {compute}: in a row / side by side"
        say(name, f"{alone:.1f} / {together:.1f} s", f"{alone / together:.1f}x")
        await adapter.unload()


async def env_part() -> None:
    """The machine, and whether the ledger of memory agrees with the driver."""
    say("python, torch", f"{sys.version.split()[0]}, {torch.__version__}", f"cuda {torch.version.cuda}")
    if shutil.which("nvidia-smi"):
        query = "--query-gpu=name,driver_version,memory.total,memory.used,compute_cap,mig.mode.current"
        print(await asyncio.to_thread(subprocess.getoutput, f"nvidia-smi {query} --format=csv,noheader"))
    found = hardware.find()
    budgets = {index: round(size / 2**30, 2) for index, size in found.budgets().items()}
    say("hardware.find", found.main, budgets)
    if CUDA:
        before = MEMORY.now()
        ones = torch.ones(64, 64, device="cuda")
        (ones @ ones).sum().item()
        context = (MEMORY.now() - before) / 2**30
        say("a CUDA context with cuBLAS (PROCESS_BYTES: 0.47 GiB)", f"{context:.2f} GiB")
        held = used_bytes(os.getpid(), (found.main.index or 0,))
        say(
            "used_bytes of this process",
            "unknown" if held is None else f"{held / 2**30:.2f} GiB",
            "None in a container",
        )


async def main() -> None:
    """Runs the parts."""
    for part in PARTS:
        try:
            await globals()[f"{part}_part"]()
        except Exception:
            say(part, "FAILED")
            traceback.print_exc()
    say("done", f"{time.perf_counter() - STARTED:.0f} s")


if __name__ == "__main__":
    WORK.mkdir(parents=True, exist_ok=True)
    asyncio.run(main())
