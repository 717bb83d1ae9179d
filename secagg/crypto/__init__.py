"""Thin, typed, labelled wrappers around well-kept implementations of the suite's primitives.

Suite 1: X25519, Ed25519 and XChaCha20-Poly1305 from PyNaCl; HKDF-SHA256 and AES-256-CTR from
cryptography; SHA-256 and HMAC from the standard library. Only the secret sharing (``shamir``) and
the hash tree (``merkle``) are arithmetic of this package.
"""
