"""Sound to text: front end, characters, Transformer encoder-decoder, decoding, `Recognizer`."""
