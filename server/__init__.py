"""The HTTP server: routes, gates, streams and jobs. No model code here."""
