"""OpenAI's wire: schemas, parse (wire to seam) and render (seam to wire). No I/O, no framework here."""
