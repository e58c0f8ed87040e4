"""Videos by diffusers' LTX and Wan pipelines.

capabilities     Which of diffusers' video pipelines a checkpoint is run by, and what that one can do
diffusers_video  Videos on diffusers: by LTX-Video or LTX-2 with keyframes, or by Wan
inputs           What a video checkpoint takes beside words, read from its config files: without its weights, and ...
keyframes        Keyframes as diffusers' pipelines take them
ltx2             What is LTX-2's alone: its ways of guidance, and the sound that it makes beside the pictures ...
tiled_decode     Decoding a film in tiles of time, each of which is handed on as soon as it is whole
"""
