"""The rules of REAPI as plain values and functions, without I/O and gRPC."""
