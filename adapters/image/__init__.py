"""Images by any of diffusers' text-to-image pipelines.

batch_invariant  Batches whose rows are, to the last bit, what each row gives alone
batching         Requests that ask for the same kind of image at the same time, drawn as one batch
capabilities     What a text-to-image pipeline can do, read once from its class and its parts
compile          How a pipeline's networks lie in memory and whether they are compiled, by the operator's options
denoise          One batch, from noise to pixels, in the model's thread: whatever the pipeline's class
diffusers_image  The adapter: loading any text-to-image pipeline of diffusers, and drawing with it
init_images      Uploaded images and masks, as a model draws over them
inpainting       Drawing within a mask for models whose inpainting pipeline wants other latents than they have
loras            LoRAs: small sets of weights that lie ready beside a model's own, and are switched on for a batch ...
options          A request as it will be drawn: checked against what the model can, with every choice made that it ...
previews         What an image will look like, from its latents while they are still being denoised
prompts          Prompts: of any length for Stable Diffusion XL, and counted for all others, which cut off without ...
refiner          The refiner of Stable Diffusion XL: a second model that takes over the latents for the last steps
schedulers       Sampling methods by name: which of diffusers' schedulers a model can be run with, and a fresh one ...
"""
