"""The demonstration: four hospitals and a server, each a process; one is lost on the way."""
