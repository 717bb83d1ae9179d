"""A hospital's node: it trains, masks, keeps the journal and the privacy ledger."""
