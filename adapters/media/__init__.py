"""Decoding and encoding of untrusted bytes.

decode_audio   Untrusted bytes to samples: the only decoder of uploaded sounds
decode_image   Untrusted bytes to pixels, and pixels to bytes: the only decoder of uploaded pictures
decode_video   Untrusted videos to clips of ours: the only decoder of uploaded videos
encode_audio   Samples to bytes: sounds in the formats that people ask for, written piece by piece while they come ...
encode_video   A film that is encoded in a thread of its own, while more of it comes into being
image_headers  What a picture says of itself by its first bytes, and whether such pictures are accepted; nothing ...
join_video     Frames to films that every browser and player can show, and films of ours to frames, other films ...
mp4_writer     An MP4 as it is written: H.264 and AAC, its index at the start so that it plays while it downloads
soundtrack     Sounds to the sound tracks of films: AAC in an MP4 of its own, that films take packet by packet
time_stretch   Sounds made faster or slower at the same pitch
worker         Work on films, as a process of its own: one order on standard input, one reply on standard output
"""
