"""Images by any of diffusers' text-to-image pipelines.

batch_invariant  Batches whose rows equal, bit for bit, the results of single requests
batching         Batching of images from several requests with the same settings
capabilities     What a text-to-image pipeline can do, read once from its class and components
compile          Memory format and compilation of a pipeline's networks
denoise          Generating one batch, from noise to pixels, with any pipeline class
detection        Recognizes text-to-image pipelines by config files and the source of diffusers
diffusers_image  The adapter: any text-to-image pipeline of diffusers
init_images      Uploaded images and masks for image-to-image and inpainting
inpainting       Inpainting for models whose latents diffusers' inpainting pipeline does not support
loras            LoRAs: loaded with the model, and enabled for one batch at a time
options          The operator's options, the checks of a request, and its plan: all settings with defaults filled in
previews         What an image will look like, from its latents while they are still being denoised
prompts          Prompts: any length for Stable Diffusion XL, checked against the limit for all others
refiner          The refiner of Stable Diffusion XL: a second model for the last denoising steps
schedulers       Sampling methods by name, and a new diffusers scheduler for each batch
"""
