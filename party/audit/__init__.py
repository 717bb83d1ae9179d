"""The audit log: what this node decided, in lines that nobody can change unnoticed."""
