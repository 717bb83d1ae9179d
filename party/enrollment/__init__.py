"""How this hospital joins: its own keys first, then what the consortium makes of the public halves.

keys        make every key, and the enrollment that is sent
installing  check the consortium's answer against the keys, and write the configuration
commands    ``secagg party enroll`` and ``secagg party install``
"""
