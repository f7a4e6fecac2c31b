"""Real parts on loopback for the demo, the tests and the benchmarks: PostgreSQL, an HTTPS API, an OIDC issuer.

None of them is for production: their keys and passwords live as long as the process.
"""
