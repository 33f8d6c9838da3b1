"""The live figures of a line: each worker's pulse, and the state of the line that all pulses add up to."""
