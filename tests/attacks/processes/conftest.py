"""A defended victim for all tests of a worker; each takes rounds of its own."""
