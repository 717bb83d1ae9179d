"""``secagg preflight``: everything a node needs, looked at before it starts; nothing is changed.

A check is a function of the :class:`~party.preflight.site.Site`. It returns what it has seen, or
raises CommandError: what is wrong, and how to mend it. Those that rest on another one are not made
if that one has failed.

site       the configuration, and what several checks look at
plan       the checks, in order, and what each needs
report     what they have found
cli        the command
key_files, pinned, schedule, certificate, storage, clock, budget, interface, network, server
"""
