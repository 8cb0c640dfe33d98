//! IDX, the format of MNIST and its kin: `00 00 TYPE RANK`, then RANK big-endian u32 dims, then the values, row-major.
//! Only unsigned bytes (type 08) occur here. <http://yann.lecun.com/exdb/mnist/>

use super::Problem;
use flate2::read::GzDecoder;
use std::{borrow::Cow, io::Read};

const UNSIGNED_BYTE: u8 = 8;
/// No set of this format that is known comes near; keeps a hostile file from filling the memory.
const MAX_UNPACKED: u64 = 1 << 31;

/// An array of bytes with its dims.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Idx<'a> {
    pub dims: Vec<usize>,
    pub values: &'a [u8],
}

/// The bytes themselves, or what they unpack to where they begin like a gzip file.
pub(crate) fn unpack(bytes: &[u8]) -> Result<Cow<'_, [u8]>, Problem> {
    if !bytes.starts_with(&[0x1f, 0x8b]) {
        return Ok(Cow::Borrowed(bytes));
    }
    let mut unpacked = Vec::new();
    match GzDecoder::new(bytes)
        .take(MAX_UNPACKED + 1)
        .read_to_end(&mut unpacked)
    {
        Ok(n) if n as u64 > MAX_UNPACKED => Err(Problem {
            offset: unpacked.len(),
            what: "more than 2 GiB when unpacked".into(),
        }),
        Ok(_) => Ok(Cow::Owned(unpacked)),
        Err(error) => Err(Problem {
            offset: unpacked.len(),
            what: format!(
                "the gzip stream breaks off or is damaged after this many unpacked bytes ({error})"
            ),
        }),
    }
}

/// Reads an array of `rank` dims; the values must fill the rest exactly.
pub(crate) fn parse(bytes: &[u8], rank: u8) -> Result<Idx<'_>, Problem> {
    let problem = |offset, what: String| Err(Problem { offset, what });
    let header = 4 + 4 * usize::from(rank);
    if bytes.len() < header {
        return problem(
            bytes.len(),
            format!("the file ends within the IDX header of {header} bytes"),
        );
    }
    let magic = [0, 0, UNSIGNED_BYTE, rank];
    if bytes[..4] != magic {
        let found = &bytes[..4];
        return problem(
            0,
            format!("expected {magic:02x?} (IDX, unsigned bytes, {rank} dims), found {found:02x?}"),
        );
    }
    let dims: Vec<usize> = bytes[4..header]
        .chunks_exact(4)
        .map(|d| u32::from_be_bytes([d[0], d[1], d[2], d[3]]) as usize)
        .collect();
    let values = &bytes[header..];
    match dims
        .iter()
        .try_fold(1usize, |size, &dim| size.checked_mul(dim))
    {
        Some(size) if size == values.len() => Ok(Idx { dims, values }),
        Some(size) => problem(
            bytes.len().min(header.saturating_add(size)),
            format!(
                "dims {dims:?} need a file of {} bytes, it has {}",
                header.saturating_add(size),
                bytes.len()
            ),
        ),
        None => problem(4, format!("dims {dims:?} are larger than any memory")),
    }
}

#[cfg(test)]
pub(crate) fn write(dims: &[usize], values: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0, 0, UNSIGNED_BYTE, dims.len() as u8];
    bytes.extend(dims.iter().flat_map(|&d| (d as u32).to_be_bytes()));
    bytes.extend(values);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::{Compression, write::GzEncoder};
    use proptest::prelude::*;
    use std::io::Write;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn arrays() -> impl Strategy<Value = (Vec<usize>, Vec<u8>)> {
        prop::collection::vec(0usize..6, 1..4).prop_flat_map(|dims| {
            let size: usize = dims.iter().product();
            (Just(dims), prop::collection::vec(any::<u8>(), size))
        })
    }

    proptest! {
        #[test]
        fn round_trip_plain_and_gzipped((dims, values) in arrays()) {
            let bytes = write(&dims, &values);
            for file in [bytes.clone(), gzip(&bytes)] {
                let unpacked = unpack(&file).unwrap();
                let expected = Idx { dims: dims.clone(), values: &values };
                prop_assert_eq!(parse(&unpacked, dims.len() as u8).unwrap(), expected);
            }
        }

        #[test]
        fn any_cut_and_any_addition_is_an_error((dims, values) in arrays(), cut in 1usize..9) {
            let mut bytes = write(&dims, &values);
            let rank = dims.len() as u8;
            let short = &bytes[..bytes.len().saturating_sub(cut)];
            prop_assert!(parse(short, rank).is_err());
            let packed = gzip(&bytes);
            prop_assert!(unpack(&packed[..packed.len().saturating_sub(cut).max(2)]).is_err());
            bytes.push(0);
            prop_assert!(parse(&bytes, rank).is_err());
        }

        #[test]
        fn random_bytes_never_panic(
            bytes in prop::collection::vec(any::<u8>(), 0..64), rank in 0u8..5, valid_start: bool,
        ) {
            let mut bytes = bytes;
            if valid_start {
                bytes.splice(..0, [0, 0, UNSIGNED_BYTE, rank]);
            }
            let _ = parse(&bytes, rank);
            bytes.splice(..0, [0x1f, 0x8b, 8]);
            let _ = unpack(&bytes);
        }
    }

    #[test]
    fn problems_name_the_offset_and_both_sizes() {
        let bytes = write(&[2, 3], &[0; 6]);
        let problem = parse(&bytes[..15], 2).unwrap_err();
        assert_eq!(
            problem.to_string(),
            "at byte 15: dims [2, 3] need a file of 18 bytes, it has 15"
        );
        assert_eq!(parse(&bytes, 1).unwrap_err().offset, 0);
        assert!(parse(&write(&[u32::MAX as usize; 3], &[]), 3).is_err());
    }
}
