"""The rounds of the protocol, one file each, both roles in it. Start at ``table``."""
