"""REAPI over gRPC: thin services, and an interceptor that every call passes."""
