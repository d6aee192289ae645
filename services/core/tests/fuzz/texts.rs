//! What fuzz targets are fed with. The other crates' targets include this file by its path.

use bolero::{ValueGenerator, one_of, one_value_of, produce};

/// Inputs that a target tries when it runs as a test.
pub(crate) const INPUTS: usize = 4_000;

/// Texts of pieces that a parser knows, and of other characters.
pub(crate) fn texts(pieces: &'static [&'static str]) -> impl ValueGenerator<Output = String> {
    let known = || one_value_of(pieces).map_gen(str::to_owned);
    let piece = one_of((known(), known(), known(), produce::<char>().map_gen(String::from)));
    produce::<Vec<String>>().with().values(piece).len(0_usize..24).map_gen(|pieces: Vec<String>| pieces.concat())
}

/// Changes: where, which byte, and whether it is put in, put in another's place, or taken out.
pub(crate) type Edits = Vec<(u16, u8, u8)>;

/// Up to three changes.
pub(crate) fn edits() -> impl ValueGenerator<Output = Edits> {
    produce::<Edits>().with().len(0_usize..4)
}

/// Bytes with changes.
pub(crate) fn edited(bytes: &[u8], edits: &Edits) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for (place, byte, how) in edits {
        let place = usize::from(*place) % (bytes.len() + 1);
        match (how % 3, bytes.get_mut(place)) {
            (0, Some(old)) => *old = *byte,
            (1, Some(_)) => drop(bytes.remove(place)),
            _ => bytes.insert(place, *byte),
        }
    }
    bytes
}
