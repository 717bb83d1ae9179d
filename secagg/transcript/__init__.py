"""The transcript of an attempt: what a hospital or a reviewer verifies offline, long afterwards.

record        what stands in it; its bytes
recording     from the server's last state to a transcript
verification  everything that it lets anybody check, with the policy alone
recomputation the sum again, from the masked inputs of U3
chain         the models that a row of transcripts makes
evidence      a transcript and the masked inputs as messages, sent and received

It holds nothing that the server did not know, and never a share. docs/protocol.md, "Transcripts".
"""
