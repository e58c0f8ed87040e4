"""A model in a process of its own, and what other processes of ours need.

child           The child process of one model: hosts its adapter and serves calls over a socket
client          A model in a child process, seen from the server: load, call, stream, cancel, kill
compile_caches  Where compilers keep what they have compiled for models: in the cache directory
device_fault    Faults of a GPU after which a process cannot use it any more
helper          Runs another module in a process that ends with its parent, tied to it before anything large is imported
memory_usage    How much of the memory that models compute in processes use, and how freed memory is returned
one_shot        Helper processes for one task: converting a model's files, working on a video, running pip
parent_death    Ties a process to its parent, so that it never outlives a server that was killed
protocol        The wire protocol between the server and a model's child process: length-prefixed MessagePack, never ...
remote          Adapters of all kinds whose models run in child processes: each verb becomes a call of `client.Worker`
start_failure   Why a process that a library starts for us did not start
"""
