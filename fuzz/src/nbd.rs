//! NBD: options and requests of a client that says anything.

use crate::wire::exchange;
use crate::world::ask;

/// Any bytes after the server's greeting, then nothing more. The connection ends, and the next client is served.
pub(crate) fn nbd(data: &[u8]) {
    ask(|world| {
        exchange(world.nbd, data, true);
        let list =
            [&3_u32.to_be_bytes()[..], b"IHAVEOPT", &3_u32.to_be_bytes(), &0_u32.to_be_bytes()].concat();
        let answer = exchange(world.nbd, &list, true);
        assert!(answer.starts_with(b"NBDMAGICIHAVEOPT"), "no greeting: {answer:?}");
        assert!(answer.windows(4).any(|window| window == b"disk"), "the export is not listed: {answer:?}");
    });
}
