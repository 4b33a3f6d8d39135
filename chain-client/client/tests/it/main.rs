//! Integration tests of gw-chain.
