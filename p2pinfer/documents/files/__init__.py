"""Files of batches: inputs that clients sent, and the outputs and errors that batches made of them."""
