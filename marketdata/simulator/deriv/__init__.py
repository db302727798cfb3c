"""Deriv on loopback: the public and the account socket, the REST before it, the legacy dialect."""
