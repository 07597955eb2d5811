"""What the computing thread owns of a session: the stream of its steps. The event loop owns the lease.

The way of one token through a server, in the order of the code:

1. `ComputeThread` sees that a lane can be read and calls `StreamDriver.readable`.
2. The driver takes the frame from the lane and gives it to `StepStream.take_frame`, which checks it.
3. The stream answers with the action `RunStep`. The driver puts the step into the batcher.
4. `Batcher.run` runs it with the steps of other sessions and calls `StreamDriver.computed`.
5. `StepStream.computed` keeps the outputs, packs them, and answers with the action `Send`.
6. The driver writes the frame to the lane of the next hop, or of the client.
7. `StepStream.outputs_taken` answers with the action `READ_ON`, and the driver reads the next step.

`StepStream` decides, `StreamDriver` acts. Only `Progress` is read by other threads.
"""
