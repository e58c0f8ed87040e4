"""Video jobs: creating, queueing, rendering, recovering, reporting.

capabilities   Checks a plan against what its model supports, before a job is created
create         Creating video jobs: from a request's form to a plan of shots
events         Webhook events about ended jobs: stored with the end, until they are delivered
files          The files of jobs: one folder per job, with the media of the request, the clips, and the video
idempotency    Recognising a repeated create request: by its Idempotency-Key, or as a retry of the SDK
media_process  Decoding, joining and converting media, in a process per operation
queue          The queue of jobs, on DBOS: the order of jobs per model, and recovery after a crash (ADR 13)
reconciler     Keeps rows, queue and files of jobs consistent
render         Rendering a job: each shot by its model into a clip, then all clips into the video
runner         Running the steps of jobs: progress, results, stopping at any moment
service        Creating, listing, reading and deleting jobs
store          Jobs as rows: the request, its state, and its result
tables         The table of jobs, and the conversion between rows and objects
uploads        Media that come with a request: images, audio, a video
webhooks       Webhooks: signs events (Standard Webhooks 1.0), and sends them to the configured URL
"""
