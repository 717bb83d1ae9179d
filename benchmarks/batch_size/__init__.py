"""How many patients to post at a time: time, accuracy and privacy, measured."""
