"""What the server stores: the database, generated artifacts, uploaded files.

artifacts  Finished images that clients download by URL: written whole, served whole, removed when they expire
clock      The clock that deletes: Unix time that a jump of the clock cannot push ahead
database   The database: SQLite by default, PostgreSQL by URL. Engine, schema, transactions, error translation
files      Uploaded files: bytes in a directory, rows in the database, limits per key, an expiry time per file
pages      Keyset pagination, as all list routes of the API do it with `after`, `limit` and `order`
"""
