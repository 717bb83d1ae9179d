"""The transcript of an attempt: what a hospital or a reviewer verifies offline, long afterwards.

record        what stands in it; its bytes
recording     from the server's last state to a transcript
verification  everything that it lets anybody check, with the policy alone
recomputation the sum again, from the masked inputs of U3

It holds nothing that the server did not know, and never a share. docs/protocol.md, "Transcripts".
"""
