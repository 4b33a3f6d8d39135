//! Zeroes in what was read, for files whose holes are not worth asking for.

use bytes::Bytes;

use super::Piece;

/// Zeroes are looked for in blocks of this size, on such borders.
const BLOCK_BYTES: u64 = 64 << 10;

/// Cuts what was read where 64 KiB of it, on such a border, are zeroes.
pub fn without_zeroes(data: &Bytes, start: u64) -> Vec<Piece> {
    let mut pieces: Vec<Piece> = Vec::new();
    let (mut at, mut data_from) = (0, 0);
    while at < data.len() {
        let to_border = BLOCK_BYTES - (start + at as u64) % BLOCK_BYTES;
        let end = data.len().min(at + usize::try_from(to_border).unwrap_or(data.len()));
        if is_zero(&data[at..end]) {
            if data_from < at {
                pieces.push(Piece::Data(data.slice(data_from..at)));
            }
            data_from = end;
            match pieces.last_mut() {
                Some(Piece::Zeroes(len)) => *len += (end - at) as u64,
                _ => pieces.push(Piece::Zeroes((end - at) as u64)),
            }
        }
        at = end;
    }
    if data_from < data.len() {
        pieces.push(Piece::Data(data.slice(data_from..)));
    }
    pieces
}

/// Whether all bytes are zero. One comparison of the slice with itself, shifted, stops at the first
/// other byte.
pub fn is_zero(bytes: &[u8]) -> bool {
    bytes.first().is_none_or(|first| *first == 0 && bytes[1..] == bytes[..bytes.len() - 1])
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::{is_zero, without_zeroes};
    use crate::export::Piece;

    #[test]
    fn zeroes_are_told_from_data() {
        assert!(is_zero(&[]) && is_zero(&[0]) && is_zero(&[0; 4096]));
        for at in [0, 1, 2047, 4095] {
            let mut bytes = [0; 4096];
            bytes[at] = 1;
            assert!(!is_zero(&bytes), "byte {at}");
        }
    }

    #[test]
    fn zeroes_in_the_middle_are_cut_out_on_borders() {
        const K: usize = 1 << 10;
        let mut data = vec![1; 300 * K];
        data[60 * K..190 * K].fill(0);
        let pieces = without_zeroes(&Bytes::from(data.clone()), 4 * K as u64);
        // Borders stand at 60, 124 and 188 KiB of what was read.
        let lens: Vec<(bool, u64)> =
            pieces.iter().map(|piece| (matches!(piece, Piece::Zeroes(_)), piece.len() / K as u64)).collect();
        assert_eq!(lens, [(false, 60), (true, 128), (false, 112)]);
        assert_eq!(without_zeroes(&Bytes::from(vec![0; 300 * K]), 0), [Piece::Zeroes(300 * K as u64)]);
    }
}
