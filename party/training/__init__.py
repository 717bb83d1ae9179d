"""Local training: from patients' records to one hospital's integer contribution.

records    JSON of one patient -> a validated record
features   record + schema -> a row of numbers and a class
gradient   rows + model -> the clipped integer vector x_u that enters the secure round
evaluate   how well a model predicts here; the model this hospital could train alone

Everything here stays in the hospital. Nothing is logged, and no exception carries a value that was
read from a record.
"""
