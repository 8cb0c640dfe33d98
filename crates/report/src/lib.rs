//! Charts, cell drawings and one HTML page, from the ledger alone.
