"""Before a consortium begins: what a privacy budget will cost in accuracy and in bytes."""
