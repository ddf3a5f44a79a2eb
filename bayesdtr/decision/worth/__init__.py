"""Other utilities on the same posterior: rates of exchange, stakeholders, money, risk."""
