"""The coordinator: it relays the rounds and learns the sum, nothing else."""
