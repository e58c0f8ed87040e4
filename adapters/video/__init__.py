"""Videos by diffusers' LTX and Wan pipelines.

capabilities     Which of diffusers' video pipelines runs a checkpoint, and what it can do
diffusers_video  The adapter: LTX-Video, LTX-2 and Wan on diffusers
inputs           What a video checkpoint accepts besides text, read from its config files
keyframes        Keyframes in the form that diffusers' pipelines accept
ltx2             What only LTX-2 has: further kinds of guidance, and audio generated with the video
tiled_decode     Decoding latents in temporal tiles, each passed on as soon as it is complete
"""
