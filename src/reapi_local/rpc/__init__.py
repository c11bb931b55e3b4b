"""REAPI over gRPC: thin services, one border that all calls pass, one map from errors to codes."""
