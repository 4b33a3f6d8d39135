//! Integration tests of the NBD frontend.
