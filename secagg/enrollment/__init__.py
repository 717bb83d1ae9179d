"""How a hospital joins a consortium: what it makes for itself, and what is exchanged for it.

key_files    the keys of a hospital, and the files they stand in
document     what a hospital sends: name, public key and certificate request, signed
answer       what it gets back: policy, authority and certificate, nothing secret
fingerprint  the few digits that two people compare by telephone
settings     the party.toml that a hospital begins with

Nothing here opens a file. Certificates are PEM text here; who makes one also checks it.
"""
