"""The vectors that are summed: fixed-point integers, words of a ring, masks and packed bytes."""
