"""Messages, their codec and their framing: bytes in, values out, no sockets."""
