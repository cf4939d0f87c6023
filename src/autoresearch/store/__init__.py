"""What is durable: the ledger, git, the paths of a study and its files."""
