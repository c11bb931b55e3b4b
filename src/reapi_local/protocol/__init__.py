"""The rules of REAPI as plain values and functions: no I/O, no gRPC in here."""
