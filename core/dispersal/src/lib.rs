//! Dispersal: from sealed segments on this disk to Active deals on the network, and back.
mod deal;
mod log;
mod pick;
mod watermark;
