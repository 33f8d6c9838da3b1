"""Workers: which of them are alive, and which parts of the line each one plays."""
