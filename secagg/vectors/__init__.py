"""Test vectors: what they say, how they are made, and how they are checked. Sans-IO.

A vector is a JSON document (docs/test-vectors.md). Its ``config``, ``seed`` and the arguments of
its ``operations`` determine everything else in it: :func:`secagg.vectors.build.built` computes the
rest with the product's own code, and a vector is right if that is what it says.
"""
