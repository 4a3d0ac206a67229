"""What several test packages share: small real families, runtimes, servers, and a PostgreSQL of their own."""
