"""What `benchmarks/frontend.py` is made of: a tiny checkpoint, the servers, the load, the mock engine, the tables."""
