"""Decoding and encoding of untrusted bytes.

container      Reading untrusted audio and video files with FFmpeg: what both decoders share
decode_audio   Untrusted bytes to samples: the only decoder of uploaded audio
decode_image   Untrusted bytes to pixels, and pixels to bytes: the only decoder of uploaded images
decode_video   Untrusted videos to MP4 clips that the server wrote: the only decoder of uploaded videos
encode_audio   Samples to audio files, written incrementally while the samples are generated
encode_video   Encoding a video in a thread of its own, while further frames are generated
image_headers  Format and size of an image from its header, checked before anything is decoded
join_video     Encoding frames as MP4, joining MP4 clips, and reading frames back
mpeg_frames    Finds the first frame of MPEG audio behind padding and other bytes that are no audio
mp4_writer     Writing MP4: H.264 and AAC, with the index at the start so that it plays while it downloads
soundtrack     Audio to soundtracks: AAC in an MP4 file of its own, copied into videos packet by packet
time_stretch   Audio made faster or slower at the same pitch
worker         Work on video and audio files in a process of its own
"""
