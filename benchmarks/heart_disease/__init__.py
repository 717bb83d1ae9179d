"""Four hospitals' heart-disease data (UCI): records, split, policy, and the utility study."""
