"""What TensorRT's parser takes of ONNX: rules, and a graph that keeps them."""
