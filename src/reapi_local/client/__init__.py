"""A client of REAPI for past actions: reads them from a server and executes them again."""
