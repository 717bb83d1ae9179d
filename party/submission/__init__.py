"""What a hospital hands to its node for one training round: its patients' records, encrypted.

admission  the whole way in, from what was posted to what is kept
body       the JSON that is posted -> its parts, every one of the right type
keyring    the hospital's own Fernet keys, newest first
opening    tokens -> records -> rows of numbers; whatever is wrong with one refuses all of them
posted     what is kept of an accepted submission: ciphertext, and a keyed digest of what it is
trainer    a kept payload and a model -> the hospital's contribution

Under a policy that protects the hospital as a whole, updates of another framework in their place:

update          safetensors -> the clipped vector
waiting_update  what waits of one: that vector, sealed

Plaintext exists only inside calls of ``opening`` and ``trainer``. Nothing here logs, and no text of
an exception holds a value of a record; a patient's id stands apart from it, for the answer to
whoever sent it.
"""
