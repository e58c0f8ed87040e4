"""What every request passes through: connections, bodies, access checks, streams and replies."""
