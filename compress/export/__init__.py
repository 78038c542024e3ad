"""A model in the forms that others read: ONNX, and a card that says what it is."""
